//! Programs as the kernel has them. The build script uses this file, too.

/// Whether a 64-bit little-endian program asks for no loader (`PT_INTERP`), and so for no library.
pub(crate) fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: usize = 3;
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(size)?)?;
        usize::try_from(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))).ok()
    };
    let headers = || -> Option<bool> {
        let (start, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
        let mut kinds = (0..count).map(|index| number(start.checked_add(index.checked_mul(size)?)?, 4));
        Some(kinds.all(|kind| kind.is_some_and(|kind| kind != PT_INTERP)))
    };
    elf.starts_with(b"\x7fELF\x02\x01") && headers().unwrap_or(false)
}
