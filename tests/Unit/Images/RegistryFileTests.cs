using System.Text;
using Ravel.Images;
using Ravel.Images.Registry;

namespace Ravel.Unit.Images;

public sealed class RegistryFileTests
{
    [Fact]
    public void Each_setting_is_taken()
    {
        var options = Parse(
            """
            {
              // Comments and trailing commas are for people.
              "registries": {
                "docker.io": { "mirrors": ["mirror.example:5000/hub", "10.0.0.5:5000"] },
                "10.0.0.5:5000": { "http": true },
                "localhost:5443": { "http": false, },
              },
              "docker_config": "/etc/ravel/docker.json",
            }
            """);
        Assert.Equal("/etc/ravel/docker.json", options.DockerConfigFile);
        Assert.Equal("/x/registries.json", options.SettingsFile);
        Assert.Equal(
            ["https://mirror.example:5000/ hub/library/nginx", "http://10.0.0.5:5000/ library/nginx", "https://registry-1.docker.io/ library/nginx"],
            RegistryEndpoint.PlacesOf(ImageReference.Parse("nginx"), options).Select(place => $"{place.Endpoint} {place.Repository}"));
        Assert.Equal("https://localhost:5443/", RegistryEndpoint.Of("localhost:5443", options).ToString());
        Assert.Equal("http://localhost:5444/", RegistryEndpoint.Of("localhost:5444", options).ToString());
    }

    [Theory]
    [InlineData("", "not JSON")]
    [InlineData("""{ "registries": { "a.example": { "http": true, "http": false } } }""", "http")]
    [InlineData("[]", "the file has to be a JSON object")]
    [InlineData("""{ "registry": {} }""", "\"registry\" is not a setting")]
    [InlineData("""{ "registries": [] }""", "registries has to be a JSON object")]
    [InlineData("""{ "registries": { "a.example": 1 } }""", "a.example has to be a JSON object")]
    [InlineData("""{ "registries": { "https://a.example": {} } }""", "is not a host name")]
    [InlineData("""{ "registries": { "a.example": { "insecure": true } } }""", "\"insecure\" of a.example is not a setting")]
    [InlineData("""{ "registries": { "a.example": { "http": "yes" } } }""", "http of a.example has to be true or false")]
    [InlineData("""{ "registries": { "a.example": { "mirrors": "b.example" } } }""", "have to be a list")]
    [InlineData("""{ "registries": { "a.example": { "mirrors": ["https://b.example"] } } }""", "HOST[:PORT][/PREFIX]")]
    [InlineData("""{ "registries": { "a.example": { "mirrors": ["b.example/"] } } }""", "HOST[:PORT][/PREFIX]")]
    [InlineData("""{ "registries": { "a.example": { "ca": "/does/not/exist.pem" } } }""", "ca of a.example cannot be read")]
    [InlineData("""{ "registries": { "a.example": { "ca": "/etc/hostname" } } }""", "has no certificate")]
    [InlineData("""{ "registries": { "a.example": { "ca": 5 } } }""", "has to be a text")]
    [InlineData("""{ "docker_config": "" }""", "docker_config has to be a text")]
    public void What_is_wrong_is_refused_with_its_place(string text, string words)
    {
        var error = Assert.Throws<ImageException>(() => Parse(text));
        Assert.Equal("invalid-request", error.Code);
        Assert.StartsWith("/x/registries.json", error.Message);
        Assert.Contains(words, error.Message);
    }

    [Fact]
    public void A_file_that_is_named_must_be_there() =>
        Assert.Contains("cannot be read", Assert.Throws<ImageException>(() => RegistryFile.Load("/does/not/exist.json")).Message);

    private static RegistryOptions Parse(string text) => RegistryFile.Parse(Encoding.UTF8.GetBytes(text), "/x/registries.json");
}
