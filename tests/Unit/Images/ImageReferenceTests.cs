using CsCheck;
using Ravel.Images;

namespace Ravel.Unit.Images;

public sealed class ImageReferenceTests
{
    private const string Hex = "1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a";
    private const string Digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    /// <summary>Of references, put together in ways that are now and then right.</summary>
    private static readonly string[] Pieces =
    [
        "nginx", "a", "Z", "library", "docker.io", "index.docker.io", "localhost", "host.example", "127.0.0.1", "[::1]", "[", "]", ":5000", ":", "/", "/",
        "@", "@" + Digest, ".", "_", "__", "-", "%", " ", "1.2", "v1", ":latest", "é",
    ];

    private static readonly Gen<string> Text = Gen.Int[0, Pieces.Length - 1].Select(i => Pieces[i]).Array[0, 8].Select(string.Concat);

    [Theory]
    [InlineData("nginx", "docker.io/library/nginx:latest")]
    [InlineData("nginx:1.27", "docker.io/library/nginx:1.27")]
    [InlineData("team/app", "docker.io/team/app:latest")]
    [InlineData("index.docker.io/nginx", "docker.io/library/nginx:latest")]
    [InlineData("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest")]
    [InlineData("localhost/app:x", "localhost/app:x")]
    [InlineData("ghcr.io/a/b/c_d-e.f:V1.0_x-y", "ghcr.io/a/b/c_d-e.f:V1.0_x-y")]
    [InlineData("[::1]:5000/app", "[::1]:5000/app:latest")]
    [InlineData("Registry/app", "Registry/app:latest")]
    [InlineData("docker.io/nginx", "docker.io/library/nginx:latest")]
    [InlineData("index.docker.io/team/app", "docker.io/team/app:latest")]
    [InlineData("library/foo/bar", "docker.io/library/foo/bar:latest")]
    [InlineData("test_com/foo", "docker.io/test_com/foo:latest")]
    [InlineData("test.com:5000", "docker.io/library/test.com:5000")]
    [InlineData("192.168.0.1:80", "docker.io/library/192.168.0.1:80")]
    [InlineData("localhost", "docker.io/library/localhost:latest")]
    [InlineData("lower:Upper", "docker.io/library/lower:Upper")]
    [InlineData("dock__er/a---b/c.d", "docker.io/dock__er/a---b/c.d:latest")]
    [InlineData("test:5000/repo:tag", "test:5000/repo:tag")]
    [InlineData("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com")]
    [InlineData("[fc00:1:2:3:4:5:6:7]:5000/library/debian", "[fc00:1:2:3:4:5:6:7]:5000/library/debian:latest")]
    [InlineData("DOCKER/docker", "DOCKER/docker:latest")]
    [InlineData("docker.io/" + Hex, "docker.io/library/" + Hex + ":latest")]
    [InlineData("nginx@" + Digest, "docker.io/library/nginx@" + Digest)]
    [InlineData("127.0.0.1:5000/team/app:1.2@" + Digest, "127.0.0.1:5000/team/app:1.2@" + Digest)]
    public void A_reference_has_the_full_form_that_docker_gives_it(string text, string full)
    {
        Assert.Equal(full, ImageReference.Parse(text).ToString());
        Assert.Equal(full, ImageReference.Parse(full).ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("Nginx")]
    [InlineData("nginx:")]
    [InlineData(":tag")]
    [InlineData("a//b")]
    [InlineData("/nginx")]
    [InlineData("nginx/")]
    [InlineData("nginx tag")]
    [InlineData("nginx@sha256:abc")]
    [InlineData("nginx@md5:aaaa")]
    [InlineData("host:port/app")]
    [InlineData("host.example:123456/app")]
    [InlineData("../../etc/passwd")]
    [InlineData("a/../b")]
    [InlineData("-nginx")]
    [InlineData("nginx\n")]
    [InlineData("http://host/app")]
    [InlineData("https://github.com/docker/docker")]
    [InlineData("docker/Docker")]
    [InlineData("docker///docker")]
    [InlineData("docker-/docker")]
    [InlineData("____/____")]
    [InlineData("dock..er/docker")]
    [InlineData("dock_.er/docker")]
    [InlineData("a___b")]
    [InlineData("[fc00::1]")]
    [InlineData("[fc00::1]:5000")]
    [InlineData("fc00::1:5000/debian")]
    [InlineData("[fe80::1%eth0]:5000/debian")]
    [InlineData("[:::::]/debian")]
    [InlineData("[2001:db8:3:4::192.0.2.33]:5000/debian")]
    [InlineData("host.example:0/app")]
    [InlineData("host.example:65536/app")]
    [InlineData("-host.example/app")]
    [InlineData("host-.example/app")]
    [InlineData("host..example/app")]
    [InlineData("foo_bar.com/app")]
    [InlineData("@" + Digest)]
    [InlineData("a@" + Digest + "@" + Digest)]
    [InlineData("nginx:täg")]
    [InlineData("nginx:.tag")]
    [InlineData(Hex)]
    public void What_is_no_reference_is_refused_with_the_text_in_the_message(string text)
    {
        var error = Assert.Throws<ImageException>(() => ImageReference.Parse(text));
        Assert.Equal("invalid-request", error.Code);
        Assert.Contains($"\"{text.Replace('\n', '?')}\"", error.Message);
    }

    [Fact]
    public void A_bare_digest_is_answered_with_how_to_write_it() =>
        Assert.Contains($"write sha256:{Hex}", Assert.Throws<ImageException>(() => ImageReference.Parse(Hex)).Message);

    [Fact]
    public void Any_text_is_a_reference_that_stays_itself_or_is_refused() =>
        Text.Sample(
            text =>
            {
                if (!ImageReference.TryParse(text, out var reference, out var problem))
                {
                    Assert.NotNull(problem);
                    return;
                }
                Assert.Equal(reference, ImageReference.Parse(reference!.ToString()));
                // What the node takes, the server lets through, and makes the same of it.
                Assert.True(Ravel.ControlPlane.Images.ImageReference.TryParse(text, out var shown), text);
                Assert.Equal((reference.Registry, reference.Repository, reference.Tag, reference.Digest), (shown.Registry, shown.Repository, shown.Tag, shown.Digest));
                // And it can be asked for: the address is one.
                Assert.NotEqual("", Ravel.Images.Registry.RegistryEndpoint.Of(reference.Registry, new RegistryOptions()).Host);
            },
            iter: 20_000);

    [Fact]
    public void Overlong_names_and_tags_are_refused()
    {
        Assert.False(ImageReference.TryParse(new string('a', 300), out _, out _));
        Assert.True(ImageReference.TryParse("host.example/" + new string('a', 255), out _, out _));
        Assert.False(ImageReference.TryParse("host.example/" + new string('a', 256), out _, out _));
        Assert.False(ImageReference.TryParse(string.Join('.', Enumerable.Repeat("host", 60)) + "/a", out _, out _));
        Assert.False(ImageReference.TryParse("a:" + new string('t', 129), out _, out _));
        Assert.True(ImageReference.TryParse("a:" + new string('t', 128), out _, out _));
    }
}
