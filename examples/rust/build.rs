//! Links to the library in M3E_ROOT/lib, or to one that the linker finds by itself.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=M3E_ROOT");
    println!("cargo:rustc-link-lib=dylib=m3e");
    if let Some(root) = env::var_os("M3E_ROOT") {
        let folder = Path::new(&root).join("lib");
        println!("cargo:rustc-link-search=native={}", folder.display());
        if env::var("CARGO_CFG_TARGET_FAMILY").as_deref() == Ok("unix") {
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
        }
    }
}
