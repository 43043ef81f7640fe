"""The explanations on the results page."""

from __future__ import annotations

from typing import Final

OF_MANY: Final = """\
## How to read it

- *Filled* is a database with the completed deposits of so many customers, with real events, hashes and rows. *Empty* is
  a new one. Both get the same load, in turn, and the ratio of a round is its rate divided by the mean of the two rates
  on empty databases around it. [RESULTS.md](RESULTS.md) explains the other words.
- The clients' customers are drawn from all customers, so nearly every deposit is a first touch: its customer is read
  from the store. On the empty database they are new customers.
- *By CPU* is the ratio without waiting. It is far above the ratio of the rates where pages had to be read from the
  disk. Then the memory of the machine is too small for the filled database, or the kernel has released its pages.
- All deposits of the measurements are checked as in RESULTS.md, and 1,000 customers by ``manage.py verify``'s rules.
"""

HOW_TO_READ: Final = """\
## How to read it

- Compare ratios, not rates: rates depend on this machine and this minute. The ratio of a round is its rate divided by
  the mean of the empty resource's rates just before and just after it. The tables give the median of the rounds, with
  the minimum and the maximum in brackets.
- **Empty Falcon resource**: reads a JSON body and answers 202 with a small one, under gunicorn with its own gevent
  worker and the settings and number of workers of the service. Each side is loaded with its best number of connections,
  which the same search finds for both before the first round. The empty resource's best number is smaller: the
  service's commits carry all waiting writes, so it needs more.
- **Connections** are kept, and spread evenly over the workers on both sides. The workers of one gunicorn accept from
  one socket, and the quicker one gets the connection, so they share unevenly. The bench opens connections, finds the
  worker of each, and closes those that are too many for one.
- **Accepted**: `POST /v1/deposit` answered with 202, which is sent after the commit is on disk. The service runs with
  `PAYMENTS_ROLE=api`: the work stays queued in the store.
- **Completed**: the whole path, with the service in the role `all` and a provider process that answers at once. Clients
  are a closed loop. They wait while as many deposits as named above are accepted and not completed, so the service is
  saturated and its backlog bounded. The count is of deposits that were answered with 202; at the end the store must
  hold all of them as `completed`. The time runs from the first POST until no work is left in the store, so it includes
  the backlog at the end of the load.
- *Each at one worker*: the requests of a customer go to one worker, as a proxy could arrange (routed clients).
- **Marks** are target values; a missed mark is not an error. The ratios are the medians of this page. The memory is
  that of a test process with the parts of a worker (`tests/actors/runtime`).
- **Hand-written service**: a Falcon resource with one INSERT per request, and two processes that take rows with SKIP
  LOCKED and call the provider, on the same PostgreSQL. A benchmark outside of this repository runs it and this
  service, with its own load (32 connections, 1,000 customers). It needs its folder and its tools (`make bench-tools`).
- **Many customers** are drawn at random. *First touches* is the share of deposits that were a customer's first, which
  costs a read of the store. **One customer**: all deposits go to one stream, and on PostgreSQL to all workers, whose
  writes then conflict all the time.
- *CPU per deposit* is the CPU time of the workers' processes, including the kernel's for sockets and disk, and that of
  PostgreSQL's: its processes for this database, and those that write for all of its databases. Other load on the
  machine disturbs it least. *By CPU* is the ratio of the sums of these times: the ratio of the rates if no process
  ever had to wait for a core. *Cores* is the use of each process group; load and provider run beside the service on the
  same two cores. *Others* is everything else on these cores, including the kernel's threads. Above 0.1 the results are
  not reliable.
- *Log of changes* is PostgreSQL's write-ahead log, of the whole server, per deposit during the measurement.
- **Conflicts** and **commits** were measured in separate runs with log lines at DEBUG. The journal then logs for each
  of its commits the number of writes, the number of conflicts, and the duration. These lines cost time, so compare
  these rates only with each other. A write with a conflict appends nothing. The missed events come back with the
  answer, and the deposit is decided and written again. If one worker serves each customer, as a proxy could arrange,
  there are no conflicts: two rows with the same number of customers differ by the cost of conflicts. *Writes per
  deposit* without conflicts is 1 for an accepted deposit and 2 for a completed one, and less when one write carries
  several deposits of one customer.
- **Relay**: a service without a broker completes deposits. Then one process publishes all of their events, three for
  each deposit, from the first event: in the role `relay` on PostgreSQL, and in the role `all` without any load on
  SQLite, where one process owns the database. The CPU time per deposit is that of this process and of PostgreSQL. It is
  divided by the CPU time of workers and PostgreSQL that completed the same deposits. The broker's CPU time is not
  counted, and its disk takes part in the rate. RabbitMQ has one durable queue, bounded, for everything. In place of
  Kafka it is Tansu, which has Kafka's protocol and keeps everything in memory, so only the CPU time is of interest.
- **On disk**: the size of the tables of a database after so many completed deposits, divided by their number. *Packed*
  is the size after dead rows were removed (`VACUUM FULL`), which remains in the long run. A customer's rows are divided
  by the few deposits of that customer here.
- Every run also checks that all requests were answered with 202, that every transaction of an answer is stored and,
  where applicable, completed, that the provider has no deposit twice, that `manage.py verify` finds no problem, that
  every published event is at the broker, and that the service logged no warning. A conflict is not a problem.
"""
