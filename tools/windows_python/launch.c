/* python.exe: hands its command line to the python311.dll beside it. */
#include <windows.h>

typedef int (*run_t)(int, wchar_t **);

int wmain(int argc, wchar_t **argv)
{
    HMODULE python = LoadLibraryW(L"python311.dll");
    run_t run = python ? (run_t)(void *)GetProcAddress(python, "Py_Main") : NULL;
    return run ? run(argc, argv) : 103;
}
