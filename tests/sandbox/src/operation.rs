//! Which request is which operation: the one table that routing, faults and the journal share.

use serde::{Deserialize, Serialize};

/// Whom a request is addressed to; also the first segment of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// BankID, the OIDC provider.
    Bankid,
    /// Neonomics, the open-banking aggregator.
    Neonomics,
    /// The user's bank: the pages where the person approves.
    Bank,
    /// Sumsub, identity verification.
    Sumsub,
}

impl Provider {
    /// Every provider.
    pub const ALL: [Self; 4] = [Self::Bankid, Self::Neonomics, Self::Bank, Self::Sumsub];

    /// The name in paths and in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bankid => "bankid",
            Self::Neonomics => "neonomics",
            Self::Bank => "bank",
            Self::Sumsub => "sumsub",
        }
    }

    /// The provider of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|provider| provider.name() == name)
    }
}

/// One thing a provider can be asked. Faults are set for, and journals filtered by, these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// BankID's discovery document.
    BankidDiscovery,
    /// BankID's login page.
    BankidAuth,
    /// BankID's token endpoint.
    BankidToken,
    /// BankID's published keys.
    BankidCerts,
    /// Neonomics' access token.
    NeonomicsToken,
    /// A new account-information consent.
    ConsentCreate,
    /// A consent, or its status.
    ConsentStatus,
    /// The end of a consent.
    ConsentDelete,
    /// The accounts of a consent.
    Accounts,
    /// An account's balances.
    Balances,
    /// A new payment.
    Payment,
    /// A payment's status.
    PaymentStatus,
    /// A payment as the bank has it.
    PaymentRead,
    /// The start of a payment's approval.
    PaymentAuthorise,
    /// The withdrawal of a payment.
    PaymentCancel,
    /// The bank's page for a consent or payment.
    ScaPage,
    /// The person's decision on that page.
    ScaDecision,
    /// A new applicant.
    ApplicantCreate,
    /// An applicant looked up by our user id.
    ApplicantGet,
    /// An applicant's review status.
    ApplicantStatus,
    /// An access token for Sumsub's SDK.
    SdkToken,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 21] = [
        Self::BankidDiscovery,
        Self::BankidAuth,
        Self::BankidToken,
        Self::BankidCerts,
        Self::NeonomicsToken,
        Self::ConsentCreate,
        Self::ConsentStatus,
        Self::ConsentDelete,
        Self::Accounts,
        Self::Balances,
        Self::Payment,
        Self::PaymentStatus,
        Self::PaymentRead,
        Self::PaymentAuthorise,
        Self::PaymentCancel,
        Self::ScaPage,
        Self::ScaDecision,
        Self::ApplicantCreate,
        Self::ApplicantGet,
        Self::ApplicantStatus,
        Self::SdkToken,
    ];

    /// Who performs it, and its name in the control interface.
    fn described(self) -> (Provider, &'static str) {
        match self {
            Self::BankidDiscovery => (Provider::Bankid, "discovery"),
            Self::BankidAuth => (Provider::Bankid, "auth"),
            Self::BankidToken => (Provider::Bankid, "token"),
            Self::BankidCerts => (Provider::Bankid, "certs"),
            Self::NeonomicsToken => (Provider::Neonomics, "token"),
            Self::ConsentCreate => (Provider::Neonomics, "consent_create"),
            Self::ConsentStatus => (Provider::Neonomics, "consent_status"),
            Self::ConsentDelete => (Provider::Neonomics, "consent_delete"),
            Self::Accounts => (Provider::Neonomics, "accounts"),
            Self::Balances => (Provider::Neonomics, "balances"),
            Self::Payment => (Provider::Neonomics, "payment"),
            Self::PaymentStatus => (Provider::Neonomics, "payment_status"),
            Self::PaymentRead => (Provider::Neonomics, "payment_read"),
            Self::PaymentAuthorise => (Provider::Neonomics, "payment_authorise"),
            Self::PaymentCancel => (Provider::Neonomics, "payment_cancel"),
            Self::ScaPage => (Provider::Bank, "sca_page"),
            Self::ScaDecision => (Provider::Bank, "sca_decision"),
            Self::ApplicantCreate => (Provider::Sumsub, "applicant_create"),
            Self::ApplicantGet => (Provider::Sumsub, "applicant_get"),
            Self::ApplicantStatus => (Provider::Sumsub, "status"),
            Self::SdkToken => (Provider::Sumsub, "sdk_token"),
        }
    }

    /// Who performs it.
    pub fn provider(self) -> Provider {
        self.described().0
    }

    /// Its name in the control interface; unique within its provider.
    pub fn name(self) -> &'static str {
        self.described().1
    }

    /// The operation of that provider and name.
    pub fn parse(provider: Provider, name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operation| operation.described() == (provider, name))
    }

    /// The operation a request asks for; segments are those behind the provider's prefix.
    pub(crate) fn of(provider: Provider, method: &str, segments: &[&str]) -> Option<Self> {
        Some(match (provider, method, segments) {
            (Provider::Bankid, "GET", [".well-known", "openid-configuration"]) => Self::BankidDiscovery,
            (Provider::Bankid, "GET", ["protocol", "openid-connect", "auth"] | ["precheck", "auth"]) => {
                Self::BankidAuth
            }
            (Provider::Bankid, "POST", ["protocol", "openid-connect", "token"]) => Self::BankidToken,
            (Provider::Bankid, "GET", ["protocol", "openid-connect", "certs"]) => Self::BankidCerts,
            (Provider::Neonomics, "POST", ["auth", "token"]) => Self::NeonomicsToken,
            (Provider::Neonomics, "POST", ["v1", "consents"]) => Self::ConsentCreate,
            (Provider::Neonomics, "GET", ["v1", "consents", _] | ["v1", "consents", _, "status"]) => {
                Self::ConsentStatus
            }
            (Provider::Neonomics, "DELETE", ["v1", "consents", _]) => Self::ConsentDelete,
            (Provider::Neonomics, "GET", ["v1", "accounts"]) => Self::Accounts,
            (Provider::Neonomics, "GET", ["v1", "accounts", _, "balances"]) => Self::Balances,
            (Provider::Neonomics, "POST", ["v1", "payments", _]) => Self::Payment,
            // The contract's path names the payment alone, the standard's also the product.
            (Provider::Neonomics, "GET", ["v1", "payments", _, "status"] | ["v1", "payments", _, _, "status"]) => {
                Self::PaymentStatus
            }
            (Provider::Neonomics, "GET", ["v1", "payments", _, _]) => Self::PaymentRead,
            (Provider::Neonomics, "POST", ["v1", "payments", _, _, "authorisations"]) => Self::PaymentAuthorise,
            (Provider::Neonomics, "DELETE", ["v1", "payments", _] | ["v1", "payments", _, _]) => Self::PaymentCancel,
            (Provider::Bank, "GET", ["sca", "consents" | "payments", _]) => Self::ScaPage,
            (Provider::Bank, "POST", ["sca", "consents" | "payments", _]) => Self::ScaDecision,
            (Provider::Sumsub, "POST", ["resources", "applicants"]) => Self::ApplicantCreate,
            (Provider::Sumsub, "GET", ["resources", "applicants", _, "one"]) => Self::ApplicantGet,
            (Provider::Sumsub, "GET", ["resources", "applicants", _, "status"]) => Self::ApplicantStatus,
            (Provider::Sumsub, "POST", ["resources", "accessTokens", "sdk"] | ["resources", "accessTokens"]) => {
                Self::SdkToken
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_found_by_its_provider_and_name() {
        for operation in Operation::ALL {
            assert_eq!(
                Operation::parse(operation.provider(), operation.name()),
                Some(operation)
            );
        }
    }

    #[test]
    fn the_contracts_and_the_standards_status_paths_are_the_same_operation() {
        for path in [
            &["v1", "payments", "pay_1", "status"][..],
            &["v1", "payments", "sepa-credit-transfers", "pay_1", "status"],
        ] {
            assert_eq!(
                Operation::of(Provider::Neonomics, "GET", path),
                Some(Operation::PaymentStatus)
            );
        }
    }
}
