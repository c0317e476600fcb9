using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using M3e;

/// <summary>Tests with the bundle that M3E_BUNDLE names. The first failure ends the program.</summary>
internal static class ModelTests
{
    private static readonly string Bundle = Environment.GetEnvironmentVariable("M3E_BUNDLE");

    public static void Main()
    {
        GoldenVectors();
        ZeroByteAndCharactersBeyondTheBasicPlaneCount();
        OptionsAndCutTokens();
        NoTexts();
        ThreadsShareAModel();
        Errors();
        Console.WriteLine("6 passed, 0 failed");
    }

    private static void GoldenVectors()
    {
        var manifest = Manifest.Read(Bundle);
        var artifacts = manifest.Artifacts.Where(each => each.Format == "native").ToList();
        Check(artifacts.Count > 0, "no native artifact");
        foreach (var artifact in artifacts)
        {
            using (var model = Model.Open(Bundle, new OpenOptions { Artifact = artifact.Name, Threads = 2 }))
            {
                Check(model.Artifact == artifact.Name, "computes with " + model.Artifact);
                var options = new EncodeOptions { Prompt = manifest.Golden.Prompt };
                var found = model.Encode(manifest.Golden.Texts, options).Vectors;
                var expected = manifest.Golden.Unpack(model.Dimension);
                Check(found.Count == expected.Length, found.Count + " vectors");
                var least = found.Zip(expected, Cosine).Min();
                Check(least >= (artifact.Precision == "int8" ? 0.99 : 0.9999), artifact.Name + ": " + least);
            }
        }
    }

    private static void ZeroByteAndCharactersBeyondTheBasicPlaneCount()
    {
        using (var model = Model.Open(Bundle))
        {
            var found = model.Encode(new[] { "morning", "morning\0 train", "morning 😀𠮷" }).Vectors;
            Check(Cosine(found[0], found[1]) < 0.999, "the zero byte ends a text");
            Check(Cosine(found[0], found[2]) < 0.999, "characters beyond the basic plane are lost");
        }
    }

    private static void OptionsAndCutTokens()
    {
        using (var model = Model.Open(Bundle))
        {
            var texts = new[] { "", string.Concat(Enumerable.Repeat("long ", 10000)) };
            var found = model.Encode(texts, new EncodeOptions { TruncateDim = 32, Normalize = true });
            foreach (var vector in found.Vectors)
            {
                Check(vector.Length == 32, vector.Length + " dimensions");
                Check(Math.Abs(Dot(vector, vector) - 1) < 1e-5, "a vector is not of unit length");
            }
            Check(found.Cut[0] == 0 && found.Cut[1] > 5000, "tokens cut: " + string.Join(" ", found.Cut));
        }
    }

    private static void NoTexts()
    {
        using (var model = Model.Open(Bundle))
        {
            Check(model.Encode(new string[0]).Vectors.Count == 0, "vectors without texts");
        }
    }

    private static void ThreadsShareAModel()
    {
        var texts = new[] { "one text", "another text" };
        using (var model = Model.Open(Bundle))
        {
            var expected = model.Encode(texts).Vectors.SelectMany(each => each).ToList();
            Parallel.For(0, 8, i =>
                Check(model.Encode(texts).Vectors.SelectMany(each => each).SequenceEqual(expected), "differs"));
        }
    }

    private static void Errors()
    {
        Expect(Status.File, () => Model.Open(Path.Combine(Bundle, "missing")));
        Expect(Status.Argument, () => Model.Open("zero\0byte"));
        var model = Model.Open(Bundle);
        Expect(Status.Argument, () => model.Encode(new[] { "text" }, new EncodeOptions { PromptName = "unknown" }));
        model.Dispose();
        model.Dispose();
        try
        {
            model.Encode(new[] { "text" });
        }
        catch (ObjectDisposedException)
        {
            return;
        }
        Check(false, "a closed model answers");
    }

    private static void Expect(Status status, Action call)
    {
        try
        {
            call();
        }
        catch (M3eException error)
        {
            Check(error.Status == status && error.Message != "", error.ToString());
            return;
        }
        Check(false, "no error " + status);
    }

    private static void Check(bool holds, string message)
    {
        if (!holds)
        {
            throw new Exception(message);
        }
    }

    private static double Dot(IEnumerable<float> a, IEnumerable<float> b)
    {
        return a.Zip(b, (x, y) => (double)x * y).Sum();
    }

    private static double Cosine(float[] a, float[] b)
    {
        return Dot(a, b) / Math.Sqrt(Dot(a, a) * Dot(b, b));
    }
}
