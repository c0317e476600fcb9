using System;

namespace M3e
{
    /// <summary>Why a call failed; m3e.h explains each.</summary>
    public enum Status
    {
        Argument = 1,
        File = 2,
        Format = 3,
        Memory = 4,
        Internal = 5,
        Unsupported = 7,
        Integrity = 8
    }

    /// <summary>An error of the library.</summary>
    public sealed class M3eException : Exception
    {
        internal M3eException(Status status, string message) : base(message)
        {
            Status = status;
        }

        public Status Status { get; }
    }
}
