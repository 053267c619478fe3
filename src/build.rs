//! Compiles `keeper.rs`, PID 1 of every session container, to one static program that berth embeds.
//!
//! The keeper also runs in images that hold nothing else (`scratch`), so it must need no loader and no library. It
//! never gets compiler flags that are meant for berth. So the same source and toolchain give the same program; its hash
//! names the volume that carries it.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

const SOURCE: &str = "src/keeper.rs";
/// The modules of it. Cargo looks at every file in a folder that is named to it, and for new ones.
const MODULES: &str = "src/keeper";
const OPTIONS: [&str; 6] = [
    "opt-level=z",
    "panic=abort",
    "lto=fat",
    "codegen-units=1",
    "strip=symbols",
    "target-feature=+crt-static",
];

fn main() -> Result<(), Box<dyn Error>> {
    let target = env::var("TARGET")?;
    if !target.contains("-linux-") {
        return Err(format!("the keeper is a Linux program: it cannot be built for `{target}`").into());
    }
    let program = Path::new(&env::var("OUT_DIR")?).join("keeper");
    compile(&target, &program)?;
    let bytes = fs::read(&program)?;
    if !is_static(&bytes) {
        return Err(format!("`{}` is not a static 64-bit program", program.display()).into());
    }
    let mut cargo = io::stdout();
    writeln!(cargo, "cargo::rerun-if-changed={SOURCE}")?;
    writeln!(cargo, "cargo::rerun-if-changed={MODULES}")?;
    writeln!(cargo, "cargo::rerun-if-changed=src/build.rs")?;
    writeln!(cargo, "cargo::rustc-env=BERTH_KEEPER_HASH={:012x}", fnv1a(&bytes) >> 16)?;
    // The loader reads each relocation at each start, and keeps in memory what it has read: 0.4 MB of a session.
    if env::var("HOST")? == target && target.ends_with("-linux-gnu") && knows_packed_relocations() {
        writeln!(cargo, "cargo::rustc-link-arg-bin=berth=-Wl,-z,pack-relative-relocs")?;
    }
    Ok(())
}

/// Since glibc 2.36; an older loader would leave them out.
fn knows_packed_relocations() -> bool {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let said = said.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = said.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    let number = |text: &str| text.split('.').next().and_then(|text| text.parse::<u32>().ok());
    version.is_some_and(|(major, minor)| (number(major), number(minor)) >= (Some(2), Some(36)))
}

/// The source is named relative to the package, so that no path of this machine ends up in the program.
fn compile(target: &str, program: &Path) -> Result<(), Box<dyn Error>> {
    let mut rustc = Command::new(env::var_os("RUSTC").ok_or("cargo did not set `RUSTC`")?);
    rustc.args(["--crate-name=keeper", "--crate-type=bin", "--edition=2024", "--target", target]);
    for option in OPTIONS {
        rustc.args(["-C", option]);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    let status = rustc.arg("-o").arg(program).arg(SOURCE).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("rustc could not compile `{SOURCE}`: {status}").into())
    }
}

/// Whether a 64-bit little-endian ELF file needs no loader: `PT_INTERP` is not among its program headers.
fn is_static(elf: &[u8]) -> bool {
    const PT_INTERP: usize = 3;
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = elf.get(at..at.checked_add(size)?)?;
        usize::try_from(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))).ok()
    };
    let headers = || -> Option<bool> {
        let (start, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
        let mut kinds = (0..count).map(|index| number(start + index * size, 4));
        Some(kinds.all(|kind| kind.is_some_and(|kind| kind != PT_INTERP)))
    };
    elf.starts_with(b"\x7fELF\x02\x01") && headers().unwrap_or(false)
}

/// FNV-1a, 64 bits: it names a build, and proves nothing about it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
