using System;
using System.Runtime.InteropServices;

namespace M3e
{
    /// <summary>The functions of m3e.h that <see cref="Model"/> uses.</summary>
    internal static class Native
    {
        public const uint AbiVersion = 2;
        public const int MessageSize = 512;
        private const string Library = "m3e"; // The system finds libm3e.so, libm3e.dylib or m3e.dll.

        [StructLayout(LayoutKind.Sequential)]
        public struct Options
        {
            public UIntPtr Size;
            public int Threads;
            public IntPtr InstructionSet;
            public IntPtr Artifact;
            public int SkipVerification;
            public int Reserved;
        }

        [StructLayout(LayoutKind.Sequential)]
        public struct Embedding
        {
            public UIntPtr Size;
            public IntPtr PromptName;
            public IntPtr Prompt;
            public int TruncateDim;
            public int Normalize;
            public int Output;
            public IntPtr Ranges;
            public IntPtr Stop;
            public IntPtr Context;
        }

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl, EntryPoint = "m3e_abi_version")]
        public static extern uint GetAbiVersion();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl, EntryPoint = "m3e_open")]
        public static extern int Open(byte[] path, ref Options options, out ModelHandle model, byte[] message);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl, EntryPoint = "m3e_close")]
        public static extern void Close(IntPtr model);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl, EntryPoint = "m3e_vector_size")]
        public static extern UIntPtr VectorSize(ModelHandle model, ref Embedding embedding);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl, EntryPoint = "m3e_embed")]
        public static extern int Embed(
            ModelHandle model, IntPtr[] texts, UIntPtr[] lengths, UIntPtr count, ref Embedding embedding,
            [In, Out] float[] vectors, [In, Out] long[] cut, byte[] message);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl, EntryPoint = "m3e_model_dimension")]
        public static extern int Dimension(ModelHandle model);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl, EntryPoint = "m3e_model_artifact")]
        public static extern IntPtr Artifact(ModelHandle model);
    }

    /// <summary>Closes the model when no call uses it any longer.</summary>
    internal sealed class ModelHandle : SafeHandle
    {
        public ModelHandle() : base(IntPtr.Zero, true)
        {
        }

        public override bool IsInvalid
        {
            get { return handle == IntPtr.Zero; }
        }

        protected override bool ReleaseHandle()
        {
            Native.Close(handle);
            return true;
        }
    }
}
