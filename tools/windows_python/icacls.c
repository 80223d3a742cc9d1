/* icacls.exe: Wine's own says nothing. This one says that whatever it is asked about is its owner's alone; what
   access lists do on a volume only a real Windows can show. */
#include <windows.h>
#include <stdio.h>

int wmain(int argc, wchar_t **argv)
{
    if (argc == 2)
        printf("%ls OWNER RIGHTS:(F)\r\n\r\n", argv[1]);
    printf("Successfully processed 1 files; Failed processing 0 files\r\n");
    return argc < 2;
}
