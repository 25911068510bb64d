import pytest

from prismaudio.rewards.tokens import Tokenize, pieces


def n_words(text):
    return len(text.split())


@pytest.mark.parametrize("limit", [1, 2, 5, 9, 40])
def test_pieces_are_short_enough_and_lose_nothing(limit):
    text = "A dog barks twice. A bell rings far away; then it is quiet! Was that all? Yes, nothing else is heard here"
    found = pieces(f"  {text} ", n_words, limit)
    assert " ".join(found) == text
    assert all(0 < n_words(piece) <= limit for piece in found)


def test_sentences_stay_whole_where_they_fit():
    assert pieces("One two three. Four five six. Seven.", n_words, 4) == ["One two three.", "Four five six. Seven."]


def test_a_word_that_is_too_long_is_cut_and_a_character_is_not():
    assert pieces("abcdefgh", len, 3) == ["ab", "cd", "ef", "gh"]
    assert pieces("ab", lambda _: 9, 3) == ["a", "b"]


def test_what_ends_a_text_is_part_of_it():
    class Words:
        @staticmethod
        def encode(text):
            return type("Encoded", (), {"ids": [len(word) for word in text.split()]})

    assert Tokenize(Words(), " <end>")("A bell") == [1, 4, 5]
