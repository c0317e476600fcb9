using System;
using System.Collections.Generic;
using System.Linq;
using System.Runtime.InteropServices;
using System.Text;

namespace M3e
{
    /// <summary>Texts in UTF-8 at one place in memory, which stays there until <see cref="Dispose"/>.</summary>
    internal sealed class Utf8 : IDisposable
    {
        private readonly GCHandle pinned;

        public Utf8(IReadOnlyCollection<string> texts)
        {
            var sizes = texts.Select(Encoding.UTF8.GetByteCount).ToArray();
            var block = new byte[sizes.Sum()];
            pinned = GCHandle.Alloc(block, GCHandleType.Pinned);
            Lengths = Array.ConvertAll(sizes, size => (UIntPtr)size);
            Pointers = new IntPtr[sizes.Length];
            int i = 0, offset = 0;
            foreach (var text in texts)
            {
                Pointers[i++] = pinned.AddrOfPinnedObject() + offset;
                offset += Encoding.UTF8.GetBytes(text, 0, text.Length, block, offset);
            }
        }

        public IntPtr[] Pointers { get; }

        public UIntPtr[] Lengths { get; }

        public void Dispose()
        {
            pinned.Free();
        }

        /// <summary>The text with a zero byte at its end, which it may not contain elsewhere.</summary>
        public static byte[] ZeroEnded(string text)
        {
            if (text.IndexOf('\0') >= 0)
            {
                throw new M3eException(Status.Argument, "a path, a name or a prompt contains a zero byte");
            }
            return Encoding.UTF8.GetBytes(text + '\0');
        }

        /// <summary>The text up to the first zero byte.</summary>
        public static string Read(byte[] bytes)
        {
            return Encoding.UTF8.GetString(bytes, 0, Array.IndexOf(bytes, (byte)0));
        }
    }

    /// <summary>Pointers to names and prompts that may be null, until <see cref="Dispose"/>.</summary>
    internal sealed class OptionalTexts : IDisposable
    {
        private readonly List<GCHandle> pinned = new List<GCHandle>();

        public IntPtr Add(string text)
        {
            if (text == null)
            {
                return IntPtr.Zero;
            }
            pinned.Add(GCHandle.Alloc(Utf8.ZeroEnded(text), GCHandleType.Pinned));
            return pinned[pinned.Count - 1].AddrOfPinnedObject();
        }

        public void Dispose()
        {
            pinned.ForEach(each => each.Free());
        }
    }
}
