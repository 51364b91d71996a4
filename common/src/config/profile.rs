use std::str::FromStr;

use super::reader::Reader;

/// Which rules apply. `DROP_PROFILE`, required: a forgotten variable must not loosen anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// One machine with the sandbox.
    Local,
    /// Full integration against the providers' test environments.
    Staging,
    /// Real money: refuses mocks, synthetic ids, missing secrets and plain text.
    Production,
}

impl Profile {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let text = reader.required("DROP_PROFILE");
        text.parse().unwrap_or_else(|()| {
            if !text.is_empty() {
                reader.problem("DROP_PROFILE", "is none of local, staging, production");
            }
            Self::Production
        })
    }

    /// Its word in `DROP_PROFILE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }

    /// Real people, real money.
    pub fn is_production(self) -> bool {
        self == Self::Production
    }

    /// Everything on this machine.
    pub fn is_local(self) -> bool {
        self == Self::Local
    }
}

impl FromStr for Profile {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "local" => Ok(Self::Local),
            "staging" => Ok(Self::Staging),
            "production" => Ok(Self::Production),
            _ => Err(()),
        }
    }
}
