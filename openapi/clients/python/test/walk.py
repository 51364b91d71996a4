"""A new person's way from login to a paid bill, with the client, against the running system."""

import os
import threading
from typing import get_args

import httpx
import pytest
from drop import (
    RESPOND_ASYNC,
    Code,
    DropError,
    LoginEnded,
    Saved,
    Session,
    advice,
    data,
    finish_login,
    follow,
    new_key,
    start_login,
    until,
    wait,
)
from drop.codes import ERRORS, IdempotencyKeyReused, KycRequired, NotFound, PossibleDuplicate, Unauthenticated, ValidationFailed
from drop_client.api.accounts import link_bank, list_bank_accounts, refresh_balance
from drop_client.api.auth import end_sessions, get_me
from drop_client.api.kyc import get_kyc, start_kyc
from drop_client.api.payments import create_transaction, get_transaction, list_transactions
from drop_client.models.applicant_state import ApplicantState
from drop_client.models.bank_accounts import BankAccounts
from drop_client.models.cached_balance import CachedBalance
from drop_client.models.creditor_account import CreditorAccount
from drop_client.models.instructed_amount import InstructedAmount
from drop_client.models.kyc import Kyc
from drop_client.models.new_applicant import NewApplicant
from drop_client.models.new_transaction import NewTransaction
from drop_client.models.problem import Problem
from drop_client.models.transaction import Transaction
from drop_client.types import Response

from person import CutAfterFirst, approves, is_verified, patiently, signs_in

API = os.environ.get("DROP_API", "http://127.0.0.1:8080")


def main() -> None:
    # ── Login ───────────────────────────────────────────────────────────────────────────────────────────────────────
    abandoned = patiently(lambda: start_login(API))
    with pytest.raises(LoginEnded, match="bankid_cancelled"):
        finish_login(API, abandoned, signs_in(abandoned.authorization_url, "cancel"))
    login = patiently(lambda: start_login(API))
    link = signs_in(login.authorization_url, "leap_day")
    assert finish_login(API, abandoned, link) is None, "a link of another login is passed over"
    kept: list[Saved] = []
    first = patiently(lambda: finish_login(API, login, link, kept.append))
    assert first is not None and first.person.first_name == "Leif"
    before = first.access_token()
    first.refresh()
    assert first.access_token() != before
    # The app was closed, and is opened again with what it has kept.
    assert len(kept) == 2
    session = Session.restore(API, kept[-1], kept.append)
    assert session.access_token() == first.access_token() and session.person == first.person

    # ── Identity check ──────────────────────────────────────────────────────────────────────────────────────────────
    with pytest.raises(KycRequired):
        data(link_bank.sync_detailed(client=session.client, idempotency_key=new_key()))
    applicant = NewApplicant(email="leif@example.com")
    told = start_kyc.sync_detailed(client=session.client, body=applicant, prefer=RESPOND_ASYNC)
    assert told.status_code == 202, "respond-async does not wait"

    def kyc() -> Kyc:
        return data(get_kyc.sync_detailed(client=session.client))

    until(kyc, lambda seen: seen.applicant == ApplicantState.CREATED)
    is_verified(session.person.id)
    until(kyc, lambda seen: seen.status == "approved")

    # ── Bank and balance ────────────────────────────────────────────────────────────────────────────────────────────
    consent = data(link_bank.sync_detailed(client=session.client, idempotency_key=new_key(), prefer=wait(10)))
    approves(consent.sca_redirect)

    def accounts() -> BankAccounts:
        return data(list_bank_accounts.sync_detailed(client=session.client))

    account = until(accounts, lambda seen: bool(seen.accounts)).accounts[0].id
    balance = data(refresh_balance.sync_detailed(account, client=session.client, prefer=wait(10)))
    assert isinstance(balance, CachedBalance) and balance.currency == "NOK" and not balance.stale

    # ── Payment ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def order(name: str = "Python AS", amount: str = "250.00") -> NewTransaction:
        return NewTransaction(
            account_id=account,
            instructed_amount=InstructedAmount(amount=amount, currency="NOK"),
            creditor_name=name,
            creditor_account=CreditorAccount(iban="HR1210010051863000160"),
        )

    def pay(key: str, body: NewTransaction, prefer: str) -> Response[Problem | Transaction]:
        return create_transaction.sync_detailed(client=session.client, body=body, idempotency_key=key, prefer=prefer)

    key = new_key()
    asked = pay(key, order(), RESPOND_ASYNC)
    assert asked.status_code == 202, asked.parsed
    repeated = pay(key, order(), wait(10))
    assert repeated.status_code == 201 and repeated.headers["idempotent-replayed"] == "true"
    payment = data(repeated)
    assert payment.id == data(asked).id and asked.headers["location"] == f"/v1/transactions/{payment.id}"
    with pytest.raises(IdempotencyKeyReused):
        data(pay(key, order(name="Somebody else"), wait(10)))
    with pytest.raises(PossibleDuplicate) as equal:
        data(pay(new_key(), order(), wait(10)))
    assert equal.value.location == f"/v1/transactions/{payment.id}"
    with pytest.raises(ValidationFailed) as wrong:
        data(pay(new_key(), order(amount="-1"), wait(10)))
    assert [error.field for error in wrong.value.problem.errors] == ["instructedAmount.amount"]

    # ── Events ──────────────────────────────────────────────────────────────────────────────────────────────────────
    def look() -> None:
        get_transaction.sync_detailed(payment.id, client=session.client)

    transport = CutAfterFirst()
    seen: list[Transaction] = []
    with httpx.Client(base_url=API, transport=transport, auth=session.auth) as http:
        for state in follow(http, payment.id, pause=0.05):
            seen.append(state)
            if len(seen) == 1:
                approves(payment.sca_redirect)
            elif not state.bank_final:
                # A look lets the bank be asked at once, so that its last word need not be waited for.
                threading.Timer(3.1, look).start()
    versions = [state.version for state in seen]
    assert versions == sorted(set(versions)), "each version once, in order"
    last = seen[-1]
    assert (last.status, last.bank_status, last.bank_final) == ("completed", "ACSC", True)
    assert transport.opened[:2] == [None, str(versions[0])], "it comes back with the last version that was shown"
    assert not list(follow(session.http, payment.id, last_event_id=str(last.version)))
    assert data(list_transactions.sync_detailed(client=session.client)).transactions[0].id == payment.id

    # ── Errors ──────────────────────────────────────────────────────────────────────────────────────────────────────
    assert set(ERRORS) == set(get_args(Code)) and all(advice(code) for code in get_args(Code))
    with pytest.raises(NotFound):
        data(get_transaction.sync_detailed("tx_0190a5a47c7e7d5ab8a1f2d3c4b5a697", client=session.client))
    assert end_sessions.sync_detailed(client=session.client).status_code == 204
    with pytest.raises(Unauthenticated) as over:
        data(get_me.sync_detailed(client=session.client))
    assert isinstance(over.value, DropError) and over.value.problem.status == 401
    with pytest.raises(Unauthenticated):
        next(follow(session.http, payment.id))
    print(f"Python: every step was as expected; versions {versions}")


main()
