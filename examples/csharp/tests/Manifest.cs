using System;
using System.IO;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;

/// <summary>What the tests read from the manifest of a bundle.</summary>
[DataContract]
internal sealed class Manifest
{
    [DataMember(Name = "artifacts")]
    public Artifact[] Artifacts { get; set; }

    [DataMember(Name = "golden")]
    public Golden Golden { get; set; }

    public static Manifest Read(string bundle)
    {
        using (var file = File.OpenRead(Path.Combine(bundle, "manifest.json")))
        {
            return (Manifest)new DataContractJsonSerializer(typeof(Manifest)).ReadObject(file);
        }
    }
}

[DataContract]
internal sealed class Artifact
{
    [DataMember(Name = "name")]
    public string Name { get; set; }

    [DataMember(Name = "format")]
    public string Format { get; set; }

    [DataMember(Name = "precision")]
    public string Precision { get; set; }
}

[DataContract]
internal sealed class Golden
{
    [DataMember(Name = "texts")]
    public string[] Texts { get; set; }

    [DataMember(Name = "vectors")]
    public string Packed { get; set; }

    [DataMember(Name = "prompt")]
    public string Prompt { get; set; }

    public float[][] Unpack(int dimension)
    {
        var bytes = Convert.FromBase64String(Packed);
        var size = dimension * sizeof(float);
        var vectors = new float[bytes.Length / size][];
        for (var i = 0; i < vectors.Length; i++)
        {
            vectors[i] = new float[dimension];
            Buffer.BlockCopy(bytes, i * size, vectors[i], 0, size);
        }
        return vectors;
    }
}
