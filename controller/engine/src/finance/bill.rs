//! Bills: a customer's usage rows of one month, summed by service, site and price.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chandler_protocol::{BillId, MicroMoney, Micros, PartyId, SiteId, Timestamp};

use super::{Bill, BillLine, UsageRow, month_of, month_range};

/// What the rows of one line have in common: service, site, rates, price.
type LineKey = (String, SiteId, (i64, i64, i64), (String, u32), u32, i64);

fn key(row: &UsageRow) -> LineKey {
    (
        row.service_name.clone(),
        row.site,
        (row.rates.core_hour.0, row.rates.gib_hour.0, row.rates.gpu_hour.0),
        row.price.offering.clone(),
        row.price.margin_percent,
        row.price.management_hour.0,
    )
}

/// The bill of one customer for one month. Rows of other customers and months are left out; a row that arrived
/// late belongs to the month in which its stretch ended. It is final once the month is over.
pub fn bill(id: BillId, customer: PartyId, month: &str, now: Timestamp, rows: &[UsageRow]) -> Bill {
    let mut lines: BTreeMap<LineKey, BillLine> = BTreeMap::new();
    for row in rows.iter().filter(|r| r.customer == customer && month_of(r.at) == month) {
        match lines.entry(key(row)) {
            Entry::Vacant(place) => {
                place.insert(line(row));
            }
            Entry::Occupied(mut place) => add(place.get_mut(), row),
        }
    }
    let sent = month_range(month).is_some_and(|(_, end)| end <= now);
    Bill { id, customer, month: month.to_owned(), sent, made_at: now, lines: lines.into_values().collect() }
}

fn line(row: &UsageRow) -> BillLine {
    BillLine {
        service: row.service,
        service_name: row.service_name.clone(),
        site: row.site,
        rates: row.rates,
        price: row.price.clone(),
        rows: 1,
        running: row.running,
        core_hours_micros: row.charge.core_hours_micros,
        gib_hours_micros: row.charge.gib_hours_micros,
        gpu_hours_micros: row.charge.gpu_hours_micros,
        amount: row.charge.price(),
    }
}

fn add(line: &mut BillLine, row: &UsageRow) {
    line.service = line.service.min(row.service);
    line.rows += 1;
    line.running = Micros(line.running.0.saturating_add(row.running.0));
    line.core_hours_micros = line.core_hours_micros.saturating_add(row.charge.core_hours_micros);
    line.gib_hours_micros = line.gib_hours_micros.saturating_add(row.charge.gib_hours_micros);
    line.gpu_hours_micros = line.gpu_hours_micros.saturating_add(row.charge.gpu_hours_micros);
    line.amount = MicroMoney(line.amount.0.saturating_add(row.charge.price().0));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::finance::example::{CUSTOMER, row};

    const NOVEMBER: (&str, i64) = ("2026-11", 1_793_491_200_000_000);

    fn made(now: i64, rows: &[UsageRow]) -> Bill {
        bill(BillId::from_random([1; 10]), CUSTOMER, NOVEMBER.0, Timestamp(now), rows)
    }

    #[test]
    fn a_row_belongs_to_the_month_it_ended_in_and_to_its_customer() {
        let at = |n, at| UsageRow { at: Timestamp(at), ..row(n, "notes", 60) };
        let end = NOVEMBER.1 + 30 * 86_400_000_000;
        let mut foreign = at(9, NOVEMBER.1);
        foreign.customer = PartyId::from_random([77; 10]);
        let rows = [at(1, NOVEMBER.1 - 1), at(2, NOVEMBER.1), at(3, end - 1), at(4, end), foreign];
        let open = made(end - 1, &rows);
        assert_eq!(open.lines.iter().map(|l| l.rows).sum::<u64>(), 2);
        assert!(!open.sent);
        assert!(made(end, &rows).sent);
    }

    #[test]
    fn a_line_is_one_service_at_one_site_under_one_price() {
        let at = |mut row: UsageRow| {
            row.at = Timestamp(NOVEMBER.1);
            row
        };
        let mut dearer = at(row(3, "notes", 60));
        dearer.price.margin_percent += 1;
        let rows = [at(row(1, "notes", 60)), at(row(2, "notes", 60)), dearer, at(row(4, "maps", 60))];
        let shown: Vec<_> = made(0, &rows).lines.iter().map(|l| (l.service_name.clone(), l.rows)).collect();
        assert_eq!(shown, [("maps".to_owned(), 1), ("notes".to_owned(), 2), ("notes".to_owned(), 1)]);
    }

    proptest! {
        /// A bill is the sum of its rows, to the millionth.
        #[test]
        fn the_total_is_the_sum_of_the_rows(
            stretches in prop::collection::vec((0_i64..10_000_000, 0_u32..4_000, 0_usize..3), 0..40),
        ) {
            let rows: Vec<_> = stretches.iter().zip(1..).map(|(&(seconds, cpu, name), n)| {
                let mut row = row(n, ["notes", "maps", "shop"][name], seconds);
                row.at = Timestamp(NOVEMBER.1);
                row.reserved.cpu.0 = cpu;
                row.charge = crate::finance::rate(row.running, row.reserved, row.rates, &row.price);
                row
            }).collect();
            prop_assert_eq!(made(0, &rows).total().0, rows.iter().map(|r| r.charge.price().0).sum::<i64>());
        }
    }
}
