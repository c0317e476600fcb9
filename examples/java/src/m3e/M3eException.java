package m3e;

/** An error of the library. */
public final class M3eException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** Why a call failed; m3e.h explains each. */
  public enum Status {
    ARGUMENT(1),
    FILE(2),
    FORMAT(3),
    MEMORY(4),
    INTERNAL(5),
    UNSUPPORTED(7),
    INTEGRITY(8);

    private final int code;

    Status(int code) {
      this.code = code;
    }

    static Status of(int code) {
      for (Status status : values()) {
        if (status.code == code) {
          return status;
        }
      }
      return INTERNAL;
    }
  }

  private final Status status;

  M3eException(Status status, String message) {
    super(message);
    this.status = status;
  }

  /** Why the call failed. */
  public Status status() {
    return status;
  }
}
