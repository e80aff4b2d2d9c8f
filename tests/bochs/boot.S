/* The first sector: reads PARTS of 8 KiB behind it to 0x10000, and goes there in 64-bit mode, with AVX-512 and AMX on. */
.code16
.globl boot
boot:
  cli
  xorw %ax,%ax
  movw %ax,%ds; movw %ax,%es; movw %ax,%ss
  movw $0x7c00,%sp
  movb %dl,drive
  inb $0x92,%al; orb $2,%al; andb $0xfe,%al; outb %al,$0x92
  movw $PARTS,%cx
1: pushw %cx
  movb $0x42,%ah
  movb drive,%dl
  movw $dap,%si
  int $0x13
  jc fail
  popw %cx
  addw $0x200,dap+6      /* 16 sectors of 512 */
  addl $16,dap+8
  loop 1b
  cli
  /* page tables: 1 GiB by 2 MiB */
  movw $0x1000,%di; xorl %eax,%eax; movw $0x0c00,%cx; cld; rep stosl
  movl $0x2003,0x1000
  movl $0x3003,0x2000
  movw $0x3000,%di; movl $0x83,%eax; movw $512,%cx
2: movl %eax,(%di); addl $0x200000,%eax; addw $8,%di; loop 2b
  lgdt gdtr
  movl $0x40620,%eax; movl %eax,%cr4     /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
  movl $0x1000,%eax; movl %eax,%cr3
  movl $0xc0000080,%ecx; rdmsr; orl $0x100,%eax; wrmsr
  movl $0x80000033,%eax; movl %eax,%cr0
  ljmp $8,$long
fail: hlt; jmp fail
.code64
long:
  movw $16,%ax; movw %ax,%ds; movw %ax,%es; movw %ax,%ss
  movl $0x800000,%esp
  xorl %ecx,%ecx; xorl %edx,%edx; movl $0x600e7,%eax; xsetbv
  movl $0x10000,%eax
  jmp *%rax
drive: .byte 0
.align 4
dap: .byte 16,0; .word 16; .word 0,0x1000; .quad 1
.align 8
gdt: .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdtr: .word 23; .long gdt
.org 510
.word 0xaa55
