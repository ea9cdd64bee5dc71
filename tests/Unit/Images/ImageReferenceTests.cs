using Ravel.Images;

namespace Ravel.Unit.Images;

public sealed class ImageReferenceTests
{
    private const string Digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

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
    public void What_is_no_reference_is_refused_with_the_text_in_the_message(string text)
    {
        var error = Assert.Throws<ImageException>(() => ImageReference.Parse(text));
        Assert.Equal("invalid-request", error.Code);
        Assert.Contains($"\"{text.Replace('\n', '?')}\"", error.Message);
    }

    [Fact]
    public void Overlong_names_and_tags_are_refused()
    {
        Assert.False(ImageReference.TryParse(new string('a', 300), out _, out _));
        Assert.False(ImageReference.TryParse("a:" + new string('t', 129), out _, out _));
        Assert.True(ImageReference.TryParse("a:" + new string('t', 128), out _, out _));
    }
}
