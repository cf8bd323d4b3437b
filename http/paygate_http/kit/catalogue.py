"""All cases, chapter by chapter, in the order in which they are told."""

from typing import Final

from paygate_http.kit import (
    cases_amounts,
    cases_credentials,
    cases_keys,
    cases_lookups,
    cases_money,
    cases_network,
    cases_payer,
    cases_replies,
    cases_secrecy,
    cases_webhooks,
)
from paygate_http.kit.stand import Stand
from paygate_http.kit.verdicts import Case, Chapter

CHAPTERS: Final[tuple[Chapter[Stand], ...]] = (
    cases_money.CHAPTER,
    cases_keys.CHAPTER,
    cases_network.CHAPTER,
    cases_replies.CHAPTER,
    cases_payer.CHAPTER,
    cases_credentials.CHAPTER,
    cases_amounts.CHAPTER,
    cases_lookups.CHAPTER,
    cases_webhooks.CHAPTER,
    cases_secrecy.CHAPTER,
)


def cases() -> list[Case[Stand]]:
    """Give every case."""
    return [each for chapter in CHAPTERS for each in chapter.cases]
