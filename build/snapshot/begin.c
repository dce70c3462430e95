/* The linker keeps the order of the objects: what lies between begin.o and end.o is CPython's. */
char azready_data_begin[16] = { 1 };
char azready_bss_begin[16];
