package m3e

// #include <m3e.h>
import "C"

// Status is the reason for an Error.
type Status int

// What each status means, m3e.h explains.
const (
	StatusArgument    Status = C.M3E_ERROR_ARGUMENT
	StatusFile        Status = C.M3E_ERROR_FILE
	StatusFormat      Status = C.M3E_ERROR_FORMAT
	StatusMemory      Status = C.M3E_ERROR_MEMORY
	StatusInternal    Status = C.M3E_ERROR_INTERNAL
	StatusUnsupported Status = C.M3E_ERROR_UNSUPPORTED
	StatusIntegrity   Status = C.M3E_ERROR_INTEGRITY
)

// Error is an error of the library; find it with errors.As.
type Error struct {
	Status  Status
	Message string
}

func (e *Error) Error() string { return "m3e: " + e.Message }

// message is the buffer for the library's message.
type message [C.M3E_MESSAGE_SIZE]C.char

func (m *message) buffer() *C.char { return &m[0] }

func (m *message) err(status C.m3e_status) error {
	return &Error{Status(status), C.GoString(&m[0])}
}
