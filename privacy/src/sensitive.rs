//! The one door: real rows go in as [`Sensitive`], only mechanisms make [`Released`].

/// A value computed from real rows that no mechanism has protected.
///
/// It has no `Debug`, `Display` or `Serialize`, so it cannot be printed or
/// written by chance. A mechanism of this crate reads it and gives back a
/// [`Released`]; nothing else does.
///
/// # Privacy
/// Touches sensitive data, releases nothing.
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    /// Marks a value as sensitive.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// A sensitive value computed from another.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing: the result stays sensitive.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Sensitive<U> {
        Sensitive(f(self.0))
    }

    /// A sensitive value computed from a borrowed one.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing: the result stays sensitive.
    pub fn map_ref<U>(&self, f: impl FnOnce(&T) -> U) -> Sensitive<U> {
        Sensitive(f(&self.0))
    }

    /// Two sensitive values together.
    ///
    /// # Privacy
    /// Touches sensitive data, releases nothing: the result stays sensitive.
    pub fn zip<U>(self, other: Sensitive<U>) -> Sensitive<(T, U)> {
        Sensitive((self.0, other.0))
    }

    /// The plain value, for the data's own controller: the evaluation and the
    /// audit read real rows, and say that what they print lies outside the
    /// epsilon claim. The `tidy` test lets no other room call this.
    ///
    /// # Privacy
    /// Outside the guarantee: whatever is derived from the result is not protected.
    pub fn for_controller(self) -> T {
        self.0
    }

    /// For this crate's mechanisms.
    pub(crate) fn expose(&self) -> &T {
        &self.0
    }
}

impl<E, T> Sensitive<Result<T, E>> {
    /// Lets an error out and keeps the value in.
    ///
    /// # Privacy
    /// Releases one bit (whether the rows could be read) and the error, which
    /// carries no cell value; the value stays sensitive.
    pub fn transpose(self) -> Result<Sensitive<T>, E> {
        self.0.map(Sensitive)
    }
}

/// A value that a mechanism made from sensitive data under a planned event, or
/// that was computed from such values. It may be printed, stored and shared.
///
/// # Privacy
/// Post-processing: whatever is done with it costs nothing more.
#[derive(Clone, Debug, PartialEq)]
pub struct Released<T>(T);

impl<T> Released<T> {
    pub(crate) fn by_mechanism(value: T) -> Self {
        Self(value)
    }

    /// The released value.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The released value, by value.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// A function of a released value is released.
    ///
    /// # Privacy
    /// Post-processing.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Released<U> {
        Released(f(self.0))
    }
}
