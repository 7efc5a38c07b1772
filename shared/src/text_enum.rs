//! Enums that are stored as text in the database and sent as text in JSON.

/// Declares an enum whose variants are stored in PostgreSQL `text` columns and sent as JSON strings.
///
/// Adds the variant `Other`, for a text that newer code wrote: during an upgrade and after a rollback, older code reads its rows. `Other` is
/// read and shown, and never written.
///
/// Defines `ALL` (without `Other`), `as_str`, `Display`, serde and the sqlx traits. In a query, name the type:
/// `state as "state: ReminderState"`.
macro_rules! text_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $text:tt, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $( $(#[$variant_meta])* #[serde(rename = $text)] $variant, )+
            /// A value of a newer release.
            #[serde(rename = "other", other)]
            Other,
        }

        impl $name {
            /// Every variant that is stored, in order of declaration.
            pub const ALL: &[Self] = &[$( Self::$variant, )+];

            /// The text.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ Self::Other => "other" }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::ALL.iter().copied().find(|variant| variant.as_str() == text).unwrap_or(Self::Other)
            }
        }

        impl sqlx::Type<sqlx::Postgres> for $name {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                <str as sqlx::Type<sqlx::Postgres>>::type_info()
            }

            fn compatible(found: &sqlx::postgres::PgTypeInfo) -> bool {
                <str as sqlx::Type<sqlx::Postgres>>::compatible(found)
            }
        }

        impl sqlx::Encode<'_, sqlx::Postgres> for $name {
            fn encode_by_ref(
                &self,
                buffer: &mut sqlx::postgres::PgArgumentBuffer,
            ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
                <&str as sqlx::Encode<sqlx::Postgres>>::encode_by_ref(&self.as_str(), buffer)
            }
        }

        impl sqlx::Decode<'_, sqlx::Postgres> for $name {
            fn decode(value: sqlx::postgres::PgValueRef<'_>) -> Result<Self, sqlx::error::BoxDynError> {
                Ok(<&str as sqlx::Decode<sqlx::Postgres>>::decode(value)?.into())
            }
        }
    };
}

pub(crate) use text_enum;
