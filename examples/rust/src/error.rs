use std::error;
use std::ffi::{CStr, NulError};
use std::fmt;
use std::os::raw::{c_char, c_int};

use crate::ffi;

/// Why a call failed; m3e.h explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    Argument,
    File,
    Format,
    Memory,
    Internal,
    Unsupported,
    Integrity,
}

/// An error of the library.
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl error::Error for Error {}

impl From<NulError> for Error {
    fn from(_: NulError) -> Self {
        Self::new(ErrorKind::Argument, "a path, a name or a prompt contains a zero byte")
    }
}

impl From<c_int> for ErrorKind {
    fn from(status: c_int) -> Self {
        match status {
            1 => Self::Argument,
            2 => Self::File,
            3 => Self::Format,
            4 => Self::Memory,
            7 => Self::Unsupported,
            8 => Self::Integrity,
            _ => Self::Internal,
        }
    }
}

/// Make a call that returns a status and writes its message to the buffer it is given.
pub(crate) fn check(call: impl FnOnce(*mut c_char) -> c_int) -> Result<(), Error> {
    let mut message = [0 as c_char; ffi::MESSAGE_SIZE];
    let status = call(message.as_mut_ptr());
    if status == ffi::OK {
        return Ok(());
    }
    // The library ends its message with a zero byte.
    let text = unsafe { CStr::from_ptr(message.as_ptr()) };
    Err(Error::new(status.into(), text.to_string_lossy()))
}
