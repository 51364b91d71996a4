//! What the pages say: what happened, and what to do.

use super::Language;
use crate::error::Code;

/// A heading and a text, in both languages.
pub(super) struct Words {
    norwegian: [&'static str; 2],
    english: [&'static str; 2],
    /// Whether a new login can end otherwise.
    pub(super) again: bool,
}

impl Words {
    pub(super) fn heading(&self, language: Language) -> &'static str {
        self.of(language)[0]
    }

    pub(super) fn text(&self, language: Language) -> &'static str {
        self.of(language)[1]
    }

    fn of(&self, language: Language) -> [&'static str; 2] {
        match language {
            Language::Norwegian => self.norwegian,
            Language::English => self.english,
        }
    }
}

/// While the outcome is awaited.
pub(super) const WAITING: Words = Words {
    norwegian: [
        "Vi logger deg inn",
        "Svaret fra BankID kontrolleres. Siden går videre av seg selv.",
    ],
    english: [
        "Signing you in",
        "BankID's answer is being checked. This page goes on by itself.",
    ],
    again: false,
};

/// On the link of a page that goes on.
pub(super) fn go_on(language: Language) -> &'static str {
    match language {
        Language::Norwegian => "Fortsett",
        Language::English => "Continue",
    }
}

/// On the link to a new login.
pub(super) fn try_again(language: Language) -> &'static str {
    match language {
        Language::Norwegian => "Prøv igjen",
        Language::English => "Try again",
    }
}

/// Why there is no session. What is no matter of the person's, and what cannot come of a login, is said as a failure of ours.
pub(super) fn about(code: Code) -> Words {
    match code {
        Code::BankidCancelled => Words {
            norwegian: ["Innloggingen ble avbrutt", "Du avbrøt i BankID. Ingenting er endret."],
            english: ["Login cancelled", "You cancelled in BankID. Nothing has changed."],
            again: true,
        },
        Code::InvalidState | Code::NotFound => Words {
            norwegian: [
                "Innloggingen gjelder ikke lenger",
                "Den er brukt, er for gammel, eller ble startet et annet sted, for eksempel i en annen fane. \
                 Bruker du appen, gå tilbake til den. Ellers kan du prøve igjen herfra.",
            ],
            english: [
                "This login is over",
                "It was used, is too old, or was started elsewhere, in another tab for example. \
                 If you use the app, go back to it. Otherwise try again from here.",
            ],
            again: true,
        },
        Code::InvalidCallback => Words {
            norwegian: [
                "Svaret fra BankID kunne ikke leses",
                "Du er ikke logget inn. Prøv igjen.",
            ],
            english: ["BankID's answer could not be read", "You are not signed in. Try again."],
            again: true,
        },
        Code::Underage => Words {
            norwegian: ["Du må ha fylt 18 år", "Drop er for personer som har fylt 18 år."],
            english: ["You must be 18 or over", "Drop is open to people aged 18 or over."],
            again: false,
        },
        Code::AgeUnverified => Words {
            norwegian: [
                "Alderen din er ikke bekreftet",
                "BankID ga ikke noe svar som viser hvor gammel du er. Ta kontakt med kundeservice.",
            ],
            english: [
                "Your age is not confirmed",
                "BankID did not give anything that shows how old you are. Please contact customer service.",
            ],
            again: false,
        },
        Code::TokenExchangeFailed | Code::JwksVerificationFailed | Code::InvalidIdentityClaim | Code::BankidError => {
            Words {
                norwegian: [
                    "BankID svarte ikke som ventet",
                    "Du er ikke logget inn. Vent litt og prøv igjen.",
                ],
                english: [
                    "BankID did not answer as expected",
                    "You are not signed in. Wait a little and try again.",
                ],
                again: true,
            }
        }
        Code::RateLimited => Words {
            norwegian: ["For mange forsøk", "Vent et minutt og prøv igjen."],
            english: ["Too many attempts", "Wait a minute and try again."],
            again: true,
        },
        Code::ValidationFailed | Code::MethodNotAllowed | Code::BadRequest => Words {
            norwegian: [
                "Lenken kan ikke brukes",
                "Det er feil i lenken du fulgte. Prøv igjen herfra.",
            ],
            english: [
                "This link cannot be used",
                "The link you followed is wrong. Try again from here.",
            ],
            again: true,
        },
        _ => Words {
            norwegian: ["Noe gikk galt", "Feilen er vår. Vent litt og prøv igjen."],
            english: ["Something went wrong", "It is our fault. Wait a little and try again."],
            again: true,
        },
    }
}
