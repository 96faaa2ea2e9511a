//! Compiles the demo's application with the same compiler, small and for the same target, so that
//! the library can carry it as bytes: what is moved around is then one file that needs nothing.

use std::env;
use std::path::PathBuf;
use std::process::Command;

const SOURCE: &str = "notes/main.rs";

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={SOURCE}");
    let out = PathBuf::from(variable("OUT_DIR")?).join("notes");
    let mut rustc = Command::new(variable("RUSTC")?);
    rustc
        .args(["--edition", "2024", "--crate-name", "notes", "--crate-type", "bin", "--target", &variable("TARGET")?])
        .args(["-Copt-level=s", "-Cstrip=symbols", "-Cpanic=abort", "-Ccodegen-units=1"])
        .arg("-o")
        .arg(&out)
        .arg(SOURCE);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let status = rustc.status().map_err(|e| format!("cannot start the compiler for {SOURCE}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("compiling {SOURCE} ended with {status}")) }
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|e| format!("{name}: {e}"))
}
