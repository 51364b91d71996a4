//! Where the contract departs from the Berlin Group's document, in one place. Every row is a setting with the contract's
//! value as its default; the rows with something in `seen` are exactly what a walk through all calls finds.
//!
//! No setting is needed where both are served at once: a code decides on any 4xx, so a dead consent may come with the
//! contract's 403 or the standard's 401; and nothing rests on the bank deduplicating by `X-Request-ID`
//! (`PISP_DEDUPE_PROVEN`), which the contract promises and the standard does not.

/// One departure.
pub(super) struct Deviation {
    /// What it is about.
    pub(super) topic: &'static str,
    /// The variable, with the value that the standard wants.
    pub(super) setting: (&'static str, &'static str),
    /// Why the contract's way is the default.
    pub(super) reason: &'static str,
    /// Operation and place of the differences that it causes; none where no message shows it.
    pub(super) seen: &'static [(&'static str, &'static str)],
}

pub(super) const DEVIATIONS: [Deviation; 7] = [
    Deviation {
        topic: "the path of a payment's status and cancellation",
        setting: ("PISP_STATUS_PATH", "/v1/payments/{product}/{paymentId}/status"),
        reason: "contract 5, step 7: `GET /v1/payments/{paymentId}/status`, without the product",
        seen: &[("payment_status", "path"), ("payment_cancel", "path")],
    },
    Deviation {
        topic: "a foreign account number",
        setting: ("PISP_BBAN_WIRE", "stripped"),
        reason: "contract 3.3: `265-1234567-89`, with dashes, as the person gave it",
        seen: &[
            ("payment", "body /creditorAccount/bban"),
            ("payment_read", "answer 200 /creditorAccount/bban"), // as it was ordered
        ],
    },
    Deviation {
        topic: "the consent's header",
        setting: ("NEONOMICS_CONSENT_HEADER", "standard"),
        reason: "contract 3.2: `X-Consent-ID`; the standard's `Consent-ID` goes along with the same value",
        seen: &[("accounts", "header x-consent-id"), ("balances", "header x-consent-id")],
    },
    Deviation {
        topic: "the person's address",
        setting: ("PSU_IP_V6", "omit"),
        reason: "the contract names no form; an IPv6 address is sent as it is, or their own reads would count as unattended",
        seen: &[("balances", "header psu-ip-address")],
    },
    Deviation {
        topic: "`ACCP`",
        setting: ("PISP_PROVISIONAL_COMPLETED", ""),
        reason: "contract 5, step 8: `ACCP` is completed; in the standard it precedes the execution",
        seen: &[],
    },
    Deviation {
        topic: "the product of a payment in kroner",
        setting: ("PISP_PRODUCT", "norwegian-domestic-credit-transfers"),
        reason: "contract 3.3: all payments are `sepa-credit-transfers`, which the standard has for euro",
        seen: &[],
    },
    Deviation {
        topic: "the product by currency and country",
        setting: (
            "PISP_PRODUCTS",
            "NOK/NO=norwegian-domestic-credit-transfers,NOK/*=norwegian-cross-border-credit-transfers",
        ),
        reason: "contract 3.3 names one product for all; the standard has one for each kind of transfer",
        seen: &[],
    },
];
