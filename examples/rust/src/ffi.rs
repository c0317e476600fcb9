//! The declarations of m3e.h that this crate uses.

use std::os::raw::{c_char, c_int, c_void};

pub const ABI_VERSION: u32 = 2;
pub const MESSAGE_SIZE: usize = 512;
pub const OK: c_int = 0;
pub const FLOAT32: c_int = 0;

/// m3e_model, of which only the library knows the content.
#[repr(C)]
pub struct Model {
    _private: [u8; 0],
}

#[repr(C)]
pub struct Options {
    pub size: usize,
    pub threads: i32,
    pub instruction_set: *const c_char,
    pub artifact: *const c_char,
    pub skip_verification: i32,
    pub reserved: i32,
}

#[repr(C)]
pub struct Embedding {
    pub size: usize,
    pub prompt_name: *const c_char,
    pub prompt: *const c_char,
    pub truncate_dim: i32,
    pub normalize: i32,
    pub output: c_int,
    pub ranges: *const f32,
    pub stop: Option<extern "C" fn(*mut c_void) -> c_int>,
    pub context: *mut c_void,
}

extern "C" {
    pub fn m3e_abi_version() -> u32;
    pub fn m3e_open(
        path: *const c_char,
        options: *const Options,
        model: *mut *mut Model,
        message: *mut c_char,
    ) -> c_int;
    pub fn m3e_close(model: *mut Model);
    pub fn m3e_vector_size(model: *const Model, embedding: *const Embedding) -> usize;
    pub fn m3e_embed(
        model: *mut Model,
        texts: *const *const c_char,
        lengths: *const usize,
        count: usize,
        embedding: *const Embedding,
        vectors: *mut c_void,
        cut: *mut i64,
        message: *mut c_char,
    ) -> c_int;
    pub fn m3e_model_dimension(model: *const Model) -> i32;
    pub fn m3e_model_artifact(model: *const Model) -> *const c_char;
}
