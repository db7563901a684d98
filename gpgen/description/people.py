"""The people and organizations behind a dataset, and how their names are written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeVar, cast

import msgspec

from gpgen.description.identifiers import check_orcid, check_ror
from gpgen.errors import UsageError
from gpgen.recipe_checks import nearest

__all__ = ["ROLES", "Contributor", "Creator", "checked_people", "refuse_repeated"]

ROLES: Final = (
    "ContactPerson", "DataCollector", "DataCurator", "DataManager", "Distributor", "Editor",
    "HostingInstitution", "Producer", "ProjectLeader", "ProjectManager", "ProjectMember",
    "RegistrationAgency", "RegistrationAuthority", "RelatedPerson", "Researcher",
    "ResearchGroup", "RightsHolder", "Sponsor", "Supervisor", "WorkPackageLeader", "Other",
)  # fmt: skip
"""What a contributor has done: contributorType of DataCite 4.5."""

Person = TypeVar("Person", bound="Creator")


class Creator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person, as "Family, Given", or an organization.

    Parameters
    ----------
    name
        "Family, Given" or "Family, Given, Jr." for a person; one word for who has one name.
    orcid
        A person's ORCID.
    affiliation, affiliation_ror
        The name of where they work, and its ROR identifier.
    organization
        Whether it isn't a person.
    ror
        An organization's ROR identifier.
    """

    name: str
    orcid: str | None = None
    affiliation: str | None = None
    affiliation_ror: str | None = None
    organization: bool = False
    ror: str | None = None

    def _part(self, number: int) -> str:
        parts = [self.name] if self.organization else self.name.split(",")
        return " ".join(parts[number].split()) if number < len(parts) else ""

    @property
    def family(self) -> str:
        """The family name of a person, the name of an organization."""
        return self._part(0)

    @property
    def given(self) -> str:
        """The given names of a person; empty if they have one name."""
        return self._part(1)

    @property
    def suffix(self) -> str:
        """What follows a person's name, such as Jr."""
        return self._part(2)

    @property
    def full_name(self) -> str:
        """The name as it is read aloud."""
        return " ".join(part for part in (self.given, self.family, self.suffix) if part)

    @property
    def identifier(self) -> tuple[str, str] | None:
        """The scheme ("ORCID" or "ROR") of the identifier, and its address."""
        if self.organization:
            return None if self.ror is None else ("ROR", self.ror)
        return None if self.orcid is None else ("ORCID", f"https://orcid.org/{self.orcid}")

    def checked(self) -> Creator:
        """Return it in plain forms, or raise `UsageError` for the first fault."""
        if not self.family:
            raise UsageError("a creator has no name", 'write name = "Family, Given"')
        if not self.organization:
            self._check_person()
        elif self.orcid is not None:
            raise UsageError(
                f"organization {self.name!r} has an ORCID, which only people have",
                "give its ROR identifier: ror = ...",
            )
        return msgspec.structs.replace(
            self,
            orcid=None if self.orcid is None else check_orcid(self.orcid),
            ror=None if self.ror is None else check_ror(self.ror),
            affiliation=(self.affiliation or "").strip() or None,
            affiliation_ror=(
                None if self.affiliation_ror is None else check_ror(self.affiliation_ror)
            ),
        )

    def _check_person(self) -> None:
        parts = self.name.split(",")
        words = self.name.split()
        if len(parts) > 3 or (len(parts) == 1 and len(words) > 1) or not all(map(str.strip, parts)):
            example = f"{words[-1]}, {' '.join(words[:-1])}" if len(parts) == 1 else "Family, Given"
            raise UsageError(
                f"creator {self.name!r} is not written as family name, comma, given names",
                f'write name = "{example}", or add organization = true',
            )
        if self.ror is not None:
            raise UsageError(
                f"{self.name!r} has a ROR identifier, which only organizations have",
                "use orcid, or affiliation_ror for where they work",
            )
        if self.affiliation_ror is not None and not (self.affiliation or "").strip():
            raise UsageError(
                f"{self.name!r} has affiliation_ror without the affiliation's name",
                'add affiliation = "..."',
            )


class Contributor(Creator, frozen=True, forbid_unknown_fields=True):
    """A contributor: the fields of a creator, and a role (DataCite's contributorType)."""

    role: str = "Other"


def checked_people(what: str, people: tuple[Person, ...]) -> tuple[Person, ...]:
    """Return people in plain forms, or raise `UsageError` for the first fault."""
    if what == "creator" and not people:
        raise UsageError("no creators", "add a [[creators]] table with a name")
    for person in people:
        role = getattr(person, "role", "Other")
        if role not in ROLES:
            raise UsageError(f"unknown role {role!r} of {person.name!r}", nearest(role, ROLES))
    checked = tuple(cast("Person", person.checked()) for person in people)
    # Croissant and the Citation File Format tell people apart by name and identifier.
    refuse_repeated(what, [person.full_name + _role(person) for person in checked])
    identified = [
        person.identifier[1] + _role(person) for person in checked if person.identifier is not None
    ]
    refuse_repeated(f"the identifier of a {what}", identified)
    return checked


def _role(person: Creator) -> str:
    return f" ({person.role})" if isinstance(person, Contributor) else ""


def refuse_repeated(what: str, values: Iterable[object]) -> None:
    """Raise `UsageError` if a value appears twice; `what` says what the values are."""
    values = list(values)
    for value in values:
        if values.count(value) > 1:
            raise UsageError(f"{what} {value!r} appears twice", "remove one")
