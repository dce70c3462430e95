/* See begin.c. */
char azready_data_end[16] = { 1 };
char azready_bss_end[16];
