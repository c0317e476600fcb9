using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace M3e
{
    /// <summary>An open bundle. Several threads may use it at once.</summary>
    public sealed class Model : IDisposable
    {
        private readonly ModelHandle handle;

        private Model(ModelHandle handle)
        {
            this.handle = handle;
        }

        /// <summary>Length of a vector if <see cref="EncodeOptions.TruncateDim"/> does not shorten it.</summary>
        public int Dimension
        {
            get { return Native.Dimension(handle); }
        }

        /// <summary>Name of the artifact that computes.</summary>
        public string Artifact
        {
            get { return Marshal.PtrToStringAnsi(Native.Artifact(handle)); }
        }

        /// <summary>Open the bundle in the folder <paramref name="path"/>.</summary>
        public static Model Open(string path, OpenOptions options = null)
        {
            CheckVersion();
            options = options ?? new OpenOptions();
            using (var names = new OptionalTexts())
            {
                var native = new Native.Options
                {
                    Size = (UIntPtr)Marshal.SizeOf(typeof(Native.Options)),
                    Threads = options.Threads,
                    Artifact = names.Add(options.Artifact),
                    SkipVerification = options.SkipVerification ? 1 : 0
                };
                var message = new byte[Native.MessageSize];
                Check(Native.Open(Utf8.ZeroEnded(path), ref native, out var handle, message), message);
                return new Model(handle);
            }
        }

        /// <summary>Turn texts into vectors.</summary>
        public Embeddings Encode(IReadOnlyCollection<string> texts, EncodeOptions options = null)
        {
            using (var prompts = new OptionalTexts())
            using (var utf8 = new Utf8(texts))
            {
                var embedding = ToNative(options ?? new EncodeOptions(), prompts);
                var dimension = (int)Native.VectorSize(handle, ref embedding) / sizeof(float);
                var values = new float[texts.Count * dimension];
                var cut = new long[texts.Count];
                var message = new byte[Native.MessageSize];
                var status = Native.Embed(
                    handle, utf8.Pointers, utf8.Lengths, (UIntPtr)texts.Count, ref embedding, values, cut, message);
                Check(status, message);
                return new Embeddings(Rows(values, texts.Count, dimension), cut);
            }
        }

        /// <summary>Free the model after the calls that still use it.</summary>
        public void Dispose()
        {
            handle.Dispose();
        }

        private static Native.Embedding ToNative(EncodeOptions options, OptionalTexts prompts)
        {
            return new Native.Embedding
            {
                Size = (UIntPtr)Marshal.SizeOf(typeof(Native.Embedding)),
                PromptName = prompts.Add(options.PromptName),
                Prompt = prompts.Add(options.Prompt),
                TruncateDim = options.TruncateDim,
                Normalize = options.Normalize ? 1 : 0
            };
        }

        private static float[][] Rows(float[] values, int count, int dimension)
        {
            var rows = new float[count][];
            for (var i = 0; i < count; i++)
            {
                rows[i] = new float[dimension];
                Array.Copy(values, i * dimension, rows[i], 0, dimension);
            }
            return rows;
        }

        private static void CheckVersion()
        {
            var found = Native.GetAbiVersion();
            if (found != Native.AbiVersion)
            {
                throw new M3eException(
                    Status.Unsupported, $"the library has ABI {found}, and this needs {Native.AbiVersion}");
            }
        }

        private static void Check(int status, byte[] message)
        {
            if (status != 0)
            {
                throw new M3eException((Status)status, Utf8.Read(message));
            }
        }
    }
}
