//! Compiles `keeper.rs`, PID 1 of every session container, to one static program that berth embeds; and `pod_keeper.rs`, that
//! of pods, to a smaller one.
//!
//! The keeper also runs in images that hold nothing else (`scratch`), so it must need no loader and no library. It
//! never gets compiler flags that are meant for berth. So the same source and toolchain give the same program; its hash
//! names the volume, or the config map, that carries it.

#[path = "kubernetes/ground/elf.rs"]
mod elf;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

const SOURCE: &str = "src/keeper.rs";
const SOURCE_OF_PODS: &str = "src/pod_keeper.rs";
/// The modules of both. Cargo looks at every file in a folder that is named to it, and for new ones.
const MODULES: &str = "src/keeper";
const OPTIONS: [&str; 6] = [
    "opt-level=z",
    "panic=abort",
    "lto=fat",
    "codegen-units=1",
    "strip=symbols",
    "target-feature=+crt-static",
];
const PACKED: &str = "-Wl,-z,pack-relative-relocs";
/// What makes a program smaller that has its own end of a backtrace (`keeper/bare.rs`): that one comes first.
const SMALL: [&str; 2] = ["link-arg=-Wl,-z,muldefs", "link-arg=-Wl,--no-eh-frame-hdr"];
/// A panic ends such a program, and nobody goes through its frames.
const NO_FRAMES: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.gcc_except_table .gcc_except_table.*) } } INSERT BEFORE .text;\n";

fn main() -> Result<(), Box<dyn Error>> {
    let target = env::var("TARGET")?;
    if !target.contains("-linux-") {
        return Err(format!("the keeper is a Linux program: it cannot be built for `{target}`").into());
    }
    let folder = env::var("OUT_DIR")?;
    let folder = Path::new(&folder);
    let packed = env::var("HOST")? == target && target.ends_with("-linux-gnu") && knows_packed_relocations();
    let keeper = folder.join("keeper");
    compile(&target, SOURCE, &keeper, &[])?;
    let of_pods = folder.join("pod-keeper");
    compile_small(&target, packed, folder, &of_pods)?;
    let mut cargo = io::stdout();
    for path in [SOURCE, SOURCE_OF_PODS, MODULES, "src/build.rs", "src/kubernetes/ground/elf.rs"] {
        writeln!(cargo, "cargo::rerun-if-changed={path}")?;
    }
    for (program, variable) in [(keeper, "BERTH_KEEPER_HASH"), (of_pods, "BERTH_POD_KEEPER_HASH")] {
        let bytes = fs::read(&program)?;
        if !elf::is_static(&bytes) {
            return Err(format!("`{}` is not a static 64-bit program", program.display()).into());
        }
        writeln!(cargo, "cargo::rustc-env={variable}={:012x}", fnv1a(&bytes) >> 16)?;
    }
    // The loader reads each relocation at each start, and keeps in memory what it has read: 0.4 MB of a session.
    if packed {
        writeln!(cargo, "cargo::rustc-link-arg-bin=berth={PACKED}")?;
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

/// Where a linker does not know all of this, the program is larger, and comes into pods by an image.
fn compile_small(target: &str, packed: bool, folder: &Path, program: &Path) -> Result<(), Box<dyn Error>> {
    let script = folder.join("no-frames.ld");
    fs::write(&script, NO_FRAMES)?;
    let mut by_script = OsString::from("link-arg=");
    by_script.push(&script);
    let packed = packed.then(|| format!("link-arg={PACKED}").into());
    let options: Vec<OsString> = SMALL.into_iter().map(OsString::from).chain(packed).collect();
    let all = [options.as_slice(), &["link-arg=-T".into(), by_script]].concat();
    compile(target, SOURCE_OF_PODS, program, &all)
        .or_else(|_| compile(target, SOURCE_OF_PODS, program, &options))
}

/// The source is named relative to the package, so that no path of this machine ends up in the program.
fn compile(target: &str, source: &str, program: &Path, more: &[OsString]) -> Result<(), Box<dyn Error>> {
    let mut rustc = Command::new(env::var_os("RUSTC").ok_or("cargo did not set `RUSTC`")?);
    rustc.args(["--crate-name=keeper", "--crate-type=bin", "--edition=2024", "--target", target]);
    for option in OPTIONS.map(OsString::from).iter().chain(more) {
        rustc.arg("-C").arg(option);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut option = OsString::from("linker=");
        option.push(linker);
        rustc.arg("-C").arg(option);
    }
    let status = rustc.arg("-o").arg(program).arg(source).status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("rustc could not compile `{source}`: {status}").into())
    }
}

/// FNV-1a, 64 bits: it names a build, and proves nothing about it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
