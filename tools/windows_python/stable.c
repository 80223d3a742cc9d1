/* python3.dll: forwards the stable interface to python311.dll (see the .def that is made of its exports). */
#include <windows.h>

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved)
{
    return TRUE;
}
