//! Enums whose values have names.

/// Gives an enum `ALL`, `as_str`, and the traits that write and read a name.
macro_rules! named {
    ($type:ident, $what:literal, $($value:ident = $name:literal),+) => {
        impl $type {
            /// Every value, in the order of the documentation.
            pub const ALL: [$type; [$($name),+].len()] = [$($type::$value),+];

            /// The name used on the command line.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$value => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::Error;

            fn from_str(name: &str) -> $crate::Result<Self> {
                Self::ALL.into_iter().find(|value| value.as_str() == name).ok_or_else(|| {
                    let known = Self::ALL.map(Self::as_str).join(", ");
                    $crate::Error::new($crate::ErrorKind::InvalidConfig, format!(concat!("unknown ", $what, " '{}'; use one of {}"), name, known))
                })
            }
        }
    };
}

pub(crate) use named;
