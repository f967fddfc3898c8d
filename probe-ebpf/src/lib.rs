//! Empty: the kernel programs are the binary; the library lets `probe` depend on this package.
#![no_std]
