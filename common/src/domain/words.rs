//! Closed vocabularies: an enum, the word the database and the API have for each variant, and the way back.

/// A word that is none of the vocabulary's. The word itself is left out: it may come from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown {vocabulary}")]
pub struct UnknownWord {
    /// What was being read, for example `payment status`.
    pub vocabulary: &'static str,
}

/// Declares an enum together with its words, so that no variant can be without one.
macro_rules! closed_words {
    (
        $(#[$doc:meta])* $name:ident, $vocabulary:literal;
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every variant, for tables and tests.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that rows, metrics and answers carry.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::words::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::domain::words::UnknownWord { vocabulary: $vocabulary }),
                }
            }
        }
    };
}

pub(crate) use closed_words;
