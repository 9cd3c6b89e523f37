import torch

from hashret.models.generator import Generator, discriminator


def test_a_generator_goes_through_its_embedding():
    generator = Generator(6, 9, (16, 12), 5, dropout=0.3, nonnegative=True).eval()
    features = torch.randn(4, 6)
    embedding = generator.encoder(features)
    assert embedding.shape == (4, 5)
    assert (embedding >= 0).all()
    assert torch.equal(generator(features), generator.decoder(embedding))
    assert generator(features).shape == (4, 9)
    assert (generator(features) >= 0).all()


def test_what_may_be_negative_is_not_cut_off():
    torch.manual_seed(0)
    generator = Generator(6, 50, (16, 12), 5, dropout=0.0, nonnegative=False)
    assert (generator(torch.randn(30, 6)) < 0).any()


def test_dropout_is_on_the_input():
    torch.manual_seed(0)
    generator = Generator(40, 3, (8, 8), 4, dropout=0.5, nonnegative=True)
    kept = generator.encoder[0](torch.ones(1000, 40))
    assert 0.45 < float((kept == 0).float().mean()) < 0.55


def test_a_discriminator_says_two_numbers():
    assert discriminator(7, (5, 4)).forward(torch.randn(3, 7)).shape == (3, 2)
