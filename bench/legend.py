"""What the page says of itself."""

from __future__ import annotations

from typing import Final

HOW_TO_READ: Final = """\
## How to read it

- Compare ratios, not rates: rates are this machine's, and of this minute. A round's ratio is its rate to the mean of
  the empty resource's rates just before and just after it. The tables give the median of the rounds and, in brackets,
  the least and the greatest.
- **Empty Falcon resource**: reads a JSON body, answers 202 with a small one; under gunicorn with the very settings of
  the service, and as many workers. Each side is loaded with the number of connections that suits it best, searched in
  the same way for both before the first round: the empty resource's best is with fewer than the service's, whose
  commits carry what waits.
- **Connections**, which the clients keep, are spread evenly over the workers, on both sides alike. The workers of one
  gunicorn accept from one socket and the quicker one gets the connection, so that of themselves they share unevenly:
  the bench opens connections, sees which worker has accepted each, and closes what is too much for one.
- **Accepted**: `POST /v1/deposit` answered with 202, which is sent after the commit is on disk. The service runs with
  `PAYMENTS_ROLE=api`: the work stays queued in the store.
- **Completed**: the whole way, service in the role `all`, to a provider process that answers at once. Clients are a
  closed loop, and wait while as many deposits as named above are accepted and not completed, so that the service is
  saturated and its backlog bounded. Counted are the deposits that were answered with 202, all of which the store must
  hold as `completed` in the end; the time is from the first POST until no work is left in the store, so that the
  backlog which is left when the load ends is worked off within it.
- **Many customers** are drawn at random; *first touches* says how many deposits were a customer's first, which costs
  a read of the store. **One customer**: all deposits go to one stream, and on PostgreSQL to all workers, which then
  meet each other's writes all the time.
- *CPU per deposit* is what the workers' processes used, the kernel's share of sockets and disk included, and what
  PostgreSQL's used: its processes for this database, and those that write for all of its databases. It is what other
  load on the machine disturbs least; *by CPU* is the ratio of the sums of these times, and so what the ratio of the
  rates would be if no process ever had to wait for a core. *Cores* are what each used; load and provider run beside
  the service on the same two cores. *Others* is everything else on these cores, the kernel's own threads included:
  above 0.1 the figures are not to be trusted.
- *Log of changes* is PostgreSQL's write-ahead log, of the whole server, for one deposit of the figure's own time.
- **Conflicts** and **commits** were measured in runs of their own, with log lines at DEBUG: the journal then says of
  each of its commits how many writes it carried, how many met a conflict, and how long it took. Such lines cost time,
  so compare these rates with each other only. A write that meets a conflict appends nothing; what it lost against
  comes back with the answer, and the deposit is decided and written again. Where each customer is served by one
  worker, as a proxy could arrange it, there is none: two rows with as many customers differ by what conflicts cost.
  *Writes per deposit* is 1 for an accepted and 2 for a completed one when none meets a conflict, and less when one
  write carries several deposits of one customer.
- **On disk**: what the tables of a database take after so many completed deposits, divided by their number; *packed*
  is the same once everything that is dead has been cleared away (`VACUUM FULL`), and so what stays in the long run. A
  customer's rows are counted with the few deposits that it had here.
- Every run also checks: all requests answered with 202, every transaction of an answer stored and, where it applies,
  completed, no deposit twice at the provider, `manage.py verify` without a finding, no warning in the service's log.
  A conflict is no problem.
"""
