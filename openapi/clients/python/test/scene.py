"""What the README's pictures show: a person who has paid, and who has not approved two more payments yet."""

import os

from drop import Session, data, finish_login, new_key, start_login, until, wait
from drop_client.api.accounts import link_bank, list_bank_accounts
from drop_client.api.kyc import get_kyc, start_kyc
from drop_client.api.payments import create_transaction, get_transaction
from drop_client.models.creditor_account import CreditorAccount
from drop_client.models.instructed_amount import InstructedAmount
from drop_client.models.new_applicant import NewApplicant
from drop_client.models.new_transaction import NewTransaction
from drop_client.models.transaction import Transaction

from person import approves, is_verified, patiently, signs_in

API = os.environ.get("DROP_API", "http://127.0.0.1:8080")


def main() -> None:
    session = has_an_account()
    account = data(list_bank_accounts.sync_detailed(client=session.client)).accounts[0].id
    paid = orders(session, account, "2010.00")
    approves(paid.sca_redirect)
    for amount in ("149.00", "75.50"):
        orders(session, account, amount)
    until(lambda: data(get_transaction.sync_detailed(paid.id, client=session.client)), lambda seen: seen.bank_final, 60)


def has_an_account() -> Session:
    login = patiently(lambda: start_login(API))
    link = signs_in(login.authorization_url, "centenarian")
    session = patiently(lambda: finish_login(API, login, link))
    assert session is not None
    data(start_kyc.sync_detailed(client=session.client, body=NewApplicant(email="hilda@example.com")))
    until(lambda: data(get_kyc.sync_detailed(client=session.client)), lambda seen: seen.applicant == "created")
    is_verified(session.person.id)
    until(lambda: data(get_kyc.sync_detailed(client=session.client)), lambda seen: seen.status == "approved")
    consent = data(link_bank.sync_detailed(client=session.client, idempotency_key=new_key(), prefer=wait(10)))
    approves(consent.sca_redirect)
    until(lambda: data(list_bank_accounts.sync_detailed(client=session.client)), lambda seen: bool(seen.accounts))
    return session


def orders(session: Session, account: str, amount: str) -> Transaction:
    order = NewTransaction(
        account_id=account,
        instructed_amount=InstructedAmount(amount=amount, currency="NOK"),
        creditor_name="Marko Petrovic",
        creditor_account=CreditorAccount(bban="265-1234567-89"),
    )
    asked = create_transaction.sync_detailed(client=session.client, body=order, idempotency_key=new_key(), prefer=wait(10))
    return data(asked)


main()
