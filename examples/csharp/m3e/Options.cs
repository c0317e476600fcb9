using System.Collections.Generic;

namespace M3e
{
    /// <summary>How to open a bundle.</summary>
    public sealed class OpenOptions
    {
        /// <summary>Most threads that one call uses; 0 means 1.</summary>
        public int Threads { get; set; }

        /// <summary>An artifact of the bundle; null means the fastest on this processor.</summary>
        public string Artifact { get; set; }

        /// <summary>Do not compare SHA-256 sums.</summary>
        public bool SkipVerification { get; set; }
    }

    /// <summary>How to encode. What is not set is the default of the bundle.</summary>
    public sealed class EncodeOptions
    {
        /// <summary>A prompt of the bundle.</summary>
        public string PromptName { get; set; }

        /// <summary>Text before each text; takes precedence over <see cref="PromptName"/>.</summary>
        public string Prompt { get; set; }

        /// <summary>Leading dimensions to keep.</summary>
        public int TruncateDim { get; set; }

        /// <summary>Scale each vector to unit length.</summary>
        public bool Normalize { get; set; }
    }

    /// <summary>What <see cref="Model.Encode"/> gives, in the order of the texts.</summary>
    public sealed class Embeddings
    {
        internal Embeddings(float[][] vectors, long[] cut)
        {
            Vectors = vectors;
            Cut = cut;
        }

        /// <summary>One for each text.</summary>
        public IReadOnlyList<float[]> Vectors { get; }

        /// <summary>How many tokens were cut off each text.</summary>
        public IReadOnlyList<long> Cut { get; }
    }
}
