"""A date is one of birth where the words beside it say so, in whatever language, and where it is a day at all."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.births import FIRST, LAST, is_day
from gateway.checks.pii import Pii
from gateway.core.terms import Passage, Place

# What stands between brackets is the value.
SAID = """
She was born on [10/23/1951]. Her maiden name is Lee.
born in Berlin on [3 May 1980]
born on Monday, [3 May 1980]
Born: [3/5/1980]
Date of birth (DD/MM/YYYY): [03/05/1980]
DOB: [05-03-80], card 17
D.O.B. [3.5.1980]
DOB [19800503]
my bday's [3/5/80]
My birthday is on [May 3, 1980]
dob=[1980-05-03]
"date_of_birth": "[1980-05-03]"
{"dateOfBirth":"[1980-05-03]"}
<birthDate>[1980-05-03]</birthDate>
| Date of birth | [1980-05-03] |
**Date of Birth:** [May 3rd, 1980]
[1980-05-03] (DOB)
Max Muster, geb. [03.05.1980] in Köln
geboren am [3. Mai 1980] in Köln
Geburtsdatum: [03.05.1980]
née le [3 mai 1980]
Né(e) le : [03/05/1980]
Date de naissance : [1er mai 1980]
Fecha de nacimiento: [3 de mayo de 1980]
nacida el [3 de mayo de 1980]
nato il [3 maggio 1980]
Data di nascita [03/05/1980]
nascido em [3 de maio de 1980]
Data de nascimento: [03/05/1980]
născută la [3 mai 1980]
geboren op [3 mei 1980]
Geboortedatum: [03-05-1980]
ur. [3 maja 1980]
Data urodzenia: [03.05.1980]
narozen [3. května 1980]
født den [3. maj 1980]
född [3 maj 1980]
Syntymäaika [3.5.1980]
született [1980. 05. 03].
Doğum tarihi: [03.05.1980]
Ngày sinh: [3 tháng 5 năm 1980]
Tanggal lahir: [3 Mei 1980]
Дата рождения: [03.05.1980]
родилась [3 мая 1980]
[03.05.1980] г.р.
[3 мая 1980] года рождения
Дата народження: [03.05.1980]
Ημερομηνία γέννησης: [03/05/1980]
تاريخ الميلاد: [03/05/1980]
תאריך לידה: [03/05/1980]
जन्म तिथि: [03/05/1980]
出生日期：[1980年5月3日]
生年月日：[1980年5月3日]
[1980年5月3日]生まれ
생년월일: [1980년 5월 3일]
""".strip().splitlines()
OTHER = """
Invoice date: 03/05/1980
expires on 03/05/2027
The appointment is on 3 May 2024.
Date of birth certificate: 2020-01-01
The birth certificate was issued on 03/05/2001
due date: 03/05/2025
The birthday party is on 12/05/2024
The reborn on 3 May 1999
Geburtstermin: 12.05.2025
Date de paiement : 3 mai 2024
Fecha de pago: 3 de mayo de 2024
Дата оплаты: 03.05.2024
born on 45/77/1980
born on 30 February 1809
born on 31/02/1980
DOB: 12345678
born 12 of 2000
""".strip().splitlines()


def dates(text):
    judged = Pii(entities=["date_of_birth"]).find([Passage("p", Place.USER, text)])
    return [text[span.start : span.end] for span in judged.spans]


@pytest.mark.parametrize("said", SAID)
def test_a_date_that_is_said_to_be_of_birth(said):
    before, _, rest = said.partition("[")
    value, _, after = rest.partition("]")
    assert dates(f"{before}{value}{after}") == [value]


@pytest.mark.parametrize("text", OTHER)
def test_another_date_or_none(text):
    assert dates(text) == []


DAYS = st.dates(date(FIRST, 1, 1), date(LAST, 12, 31))


@given(DAYS, st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%y", "%Y%m%d", "%d %B %Y", "%B %d, %Y"]))
def test_every_day_is_one_however_it_is_written(day, form):
    assert is_day(day.strftime(form))


@given(DAYS, st.integers(32, 99))
def test_a_day_that_no_month_has_is_none(day, number):
    assert not is_day(f"{day:%Y}-{day:%m}-{number}")
    assert not is_day(f"{number}.{day:%m}.{day:%Y}")
    assert not is_day(f"{number} {day:%B %Y}")
