using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using M3e;

/// <summary>Reads texts, one a line, and prints the cosine of the first two.</summary>
internal static class Similarity
{
    public static int Main(string[] arguments)
    {
        if (arguments.Length != 1)
        {
            Console.Error.WriteLine("usage: similarity BUNDLE <TEXTS");
            return 2;
        }
        var texts = ReadLines().ToList();
        if (texts.Count < 2)
        {
            Console.Error.WriteLine("needs two lines of text");
            return 1;
        }
        try
        {
            Console.WriteLine(Cosine(arguments[0], texts).ToString("F4", CultureInfo.InvariantCulture));
            return 0;
        }
        catch (M3eException error)
        {
            Console.Error.WriteLine(error.Message);
            return 1;
        }
    }

    private static double Cosine(string bundle, IReadOnlyCollection<string> texts)
    {
        using (var model = Model.Open(bundle))
        {
            var vectors = model.Encode(texts, new EncodeOptions { Normalize = true }).Vectors;
            return vectors[0].Zip(vectors[1], (a, b) => (double)a * b).Sum();
        }
    }

    private static IEnumerable<string> ReadLines()
    {
        using (var reader = new StreamReader(Console.OpenStandardInput(), Encoding.UTF8))
        {
            for (var line = reader.ReadLine(); line != null; line = reader.ReadLine())
            {
                yield return line;
            }
        }
    }
}
