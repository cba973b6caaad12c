/** Defects that the simulation must notice within its time. */
import { type Defect, forSimulation } from './defect.ts'

export const SIMULATION: readonly Defect[] = [
  ...forSimulation('src/mailbox/mailbox.ts', [
    ["      this.#erase(row, 'acked')\n      return true", '      return true', 'an ACK erases nothing'],
    ['      rows.lease[row] = LEASES[how.lease]\n', '', 'a delivered message has no lease'],
    [
      '      this.#return(mailbox, older.owner, LEASES.subscribe)\n      older.onTakenOver()',
      '      older.onTakenOver()',
      'what the older subscriber leased does not go to the newer one',
    ],
    ['      older.onTakenOver()\n', '', 'an older subscriber does not learn that a newer one has the mailbox'],
    ['    mailbox.first = mailbox.head\n    mailbox.subscriber', '    mailbox.subscriber', 'returned messages are never delivered again'],
    [
      '    mailbox.subscriber?.onWaiting()\n    return this.#table.id(row)',
      '    return this.#table.id(row)',
      'a new message does not wake its subscriber',
    ],
    ['    if (mailbox.first === NONE) mailbox.first = row\n', '    mailbox.first = row\n', 'waiting messages are skipped'],
    ['    this.#return(mailbox, owner)\n    this.#closeIfEmpty', '    this.#closeIfEmpty', 'the end of a connection returns no lease'],
    [
      'for (let row = this.#oldest; row !== NONE; row = this.#table.rows.newer[row]!) {\n      const reference',
      'for (let row = this.#newest; row !== NONE; row = this.#table.rows.newer[row]!) {\n      const reference',
      'a handover gives only the newest message',
    ],
    [
      '      if (mailbox.subscriber?.owner === owner) mailbox.window++\n      into',
      '      into',
      'a subscription has more messages than its window',
    ],
    [
      "rows.expires[this.#oldest]! <= now) this.#erase(this.#oldest, 'expired')",
      "rows.expires[this.#oldest]! <= now - 1e9) this.#erase(this.#oldest, 'expired')",
      'messages expire eleven days late',
    ],
  ]),
  ...forSimulation('src/protocol/subscriptions.ts', [
    ['      this.#lost.push(subscription.label)\n'.slice(2), '', 'the client is not told that its mailbox was taken over'],
    ['    if (isEmpty) served.isReady = false\n', '    if (isEmpty) return\n', 'an emptied subscription is never served again'],
    ['    this.#mark(subscription)\n    this.#reader.wake()', '    this.#mark(subscription)', 'a message does not wake the connection'],
  ]),
  ...forSimulation('src/protocol/mailbox-access.ts', [
    [
      '    for (const mailbox of this.mailboxes) this.#ports.mailboxes.leave(mailbox, this.#reader.owner)\n',
      '',
      'a connection that ended stays the subscriber',
    ],
    ['    this.#output.packetWithId(PACKETS.SENT.no', '    void (PACKETS.SENT.no', 'a SEND gets no answer'],
  ]),
  ...forSimulation('src/protocol/relay-session.ts', [
    [
      "      this.#refuse('denied')\n      this.#close()\n    }\n    return",
      '    }\n    return',
      'a key that was shut out keeps its connection',
    ],
  ]),
  ...forSimulation('src/relay/relay.ts', [
    ['    this.#mailboxes.eraseAll()\n    this.#admission.forget()', '    this.#admission.forget()', 'a panic erases no message'],
    [
      "    if (this.#state !== 'open') {\n      this.counters",
      "    if (this.#state === 'closed') {\n      this.counters",
      'a relay takes connections while it hands over',
    ],
    [
      "    if (this.#state !== 'suspended') return\n    this.#state = 'open'\n",
      "    if (this.#state !== 'suspended') return\n",
      'a relay whose handover failed stays suspended',
    ],
  ]),
  ...forSimulation('src/handover/predecessor.ts', [
    ['    handing.resume()\n', '', 'a relay whose handover failed does not go on'],
    [
      '    if (!this.#released || isClosing()) return\n    const waiting',
      '    return\n    const waiting',
      'a relay whose handover failed leaves its doors closed',
    ],
    ["    for (const part of writer.records('messages')) await give(part)\n", '', 'a handover gives no message'],
    ["    await this.#expect('owned')\n", '', 'a relay erases its messages before its successor owns them'],
  ]),
  ...forSimulation('src/client/delivery/outbox.ts', [
    ['      entry.wanted = entry.flying === undefined\n', '      entry.wanted = false\n', 'what a relay forgot is not sent again'],
    [
      '  entry.flying = undefined\n  entry.wanted = !entry.isSecond\n',
      '  entry.flying = undefined\n',
      'a message under way on a broken connection is not sent again',
    ],
    [
      '        this.remove(id)\n        this.#confirmed.set(id, from)',
      '        this.#confirmed.set(id, from)',
      'a confirmed message stays in the outbox',
    ],
    [
      '      if (deadline > now) continue\n',
      '      if (deadline > now || confirm) continue\n',
      'a message stays in the outbox after its deadline',
    ],
    [
      '    entry.again = now + Math.min(pause, Math.max(seconds * 900, 60_000))',
      '    entry.again = Number.POSITIVE_INFINITY * pause * seconds',
      'a message without a receipt is never sent again',
    ],
    ['    return hasTwo\n', '    return false && hasTwo\n', 'a text goes to one relay only'],
  ]),
  ...forSimulation('src/client/delivery/entries.ts', [
    [
      '.filter(({ confirm, keep }) => confirm && keep !== false)',
      ".filter(({ confirm, keep, state }) => confirm && keep !== false && state === 'waiting')",
      'the stored outbox lacks messages that a relay holds',
    ],
  ]),
  ...forSimulation('src/client/delivery/reach.ts', [
    [
      '  blocks.set(name, { until: now + pause(failures), failures, since, code })',
      '  blocks.set(name, { until: now + 0 * pause(failures), failures, since, code })',
      'a sender dials a failing relay without a pause',
    ],
  ]),
  ...forSimulation('src/client/delivery/order.ts', [
    [
      'after === undefined ? sender.missed.size > 0 || sender.follows : ',
      'after === undefined ? false : ',
      'the late beginning of a sequence has no mark',
    ],
    ['isBehind || after === undefined || ', 'isBehind || ', 'the beginning of an earlier run of the receiver has no mark'],
    ['    const late = isMissed || fills\n', '    const late = fills\n', 'a late message has no mark'],
    ['const isBranch = isBehind || ', 'const isBranch = ', 'what follows a late message behind a gap has no mark'],
    [' || sender.followed.has(after)', '', 'a message that its sender gave up has no mark if it comes late'],
    ['    return this.#give(sender, held, held.item, true)', '    return this.#give(sender, held, held.item, false)', 'a gap has no mark'],
    ['sender.given.has(after)) return', 'sender.given.size > 0) return', 'messages come in the order of arrival'],
  ]),
  ...forSimulation('src/client/delivery/receipts.ts', [
    ['ids: each.slice(start, start + RECEIPTS.most)', 'ids: each.slice(start, start + 1)', 'only one of several receipts is sent'],
    ['    waiting.ids.add(id)\n', "    if (state === 'read') waiting.ids.add(id)\n", 'no receipt says delivered'],
  ]),
  ...forSimulation('src/client/wire/pulse.ts', [
    [
      '    if (isDue) this.#sent = now.steady\n    return isDue',
      '    return false && isDue',
      'a client never notices that a connection is dead',
    ],
  ]),
  ...forSimulation('src/client/wire/connection.ts', [
    [
      "      this.#timer = setTimeout(() => this.end(new RelayError('no-answer')), this.#options.timeout)",
      '      this.#timer = undefined',
      'a request waits for its answer without limit',
    ],
  ]),
  ...forSimulation('src/client/messenger/inbox.ts', [
    [
      '    await this.#onDone(opened, from, copies)\n    this.#pending.delete(name)\n',
      '    for (const { incoming, id } of copies) incoming.ack(id)\n    await this.#onDone(opened, from, copies)\n    this.#pending.delete(name)\n',
      'a message is erased at its relay before it is stored',
    ],
    ['    if (this.#isHere(name, copy)) return false\n', '', 'a second copy is shown, too'],
  ]),
  ...forSimulation('src/client/messenger/seen-tags.ts', [
    ['        await options.seen?.append(line)\n', '', 'messages that came are not remembered on the disk'],
    [
      'this.#seen.has(from, id) && !this.#unstored.has(nameOf(from, id))',
      'this.#seen.has(from, id)',
      'a copy is erased while the message is being stored',
    ],
    ['    return this.#context.options.seen !== undefined\n', '    return false\n', 'a sequence begins with any message in each run'],
  ]),
  ...forSimulation('src/client/messenger/sending.ts', [
    ['      this.#save()\n      schedule()\n    } catch', '      schedule()\n    } catch', 'a new message is not stored'],
    ['    const after = ordered ?', '    const after = Date.now() < 0 && ordered ?', 'messages do not name the one before'],
  ]),
  ...forSimulation('src/client/messenger/retries.ts', [
    [
      '      const pause = backoff(failures, random(), error instanceof RelayError ? error.seconds : undefined)',
      '      const pause = backoff(1, random() / 100) / 100',
      'a receiver dials a failing relay without a pause',
    ],
  ]),
  ...forSimulation('src/client/messenger/receiving.ts', [
    ['        else for (const { way } of copies) await this.#settle(envelope, from, way)\n', '', 'a text that was shown leaves its key'],
    [
      "        if (contact !== undefined && opened.verdict === 'genuine') await this.#settle(opened.envelope, contact, copy.way)\n",
      '',
      'a receipt that was read leaves its key',
    ],
  ]),
  ...forSimulation('src/client/messenger/rings.ts', [
    ['      for (const seed of taken.erased ?? []) seed.fill(0)\n', '', 'an erased one-time key stays in memory'],
    ['        await this.#store.save(contact, taken.ring)\n', '', 'a changed ring is not stored'],
  ]),
  ...forSimulation('src/client/messenger/sealer.ts', [
    ['    if (to.inbox !== undefined) return true\n', '', 'a first message goes to the own key of a contact who has an inbox'],
  ]),
  ...forSimulation('src/client/messenger/renewals.ts', [
    [
      '    for (const { id } of this.#outbox.listTo(contact)) await this.renew(id)\n',
      '',
      'texts are not encrypted anew for a contact who begins anew',
    ],
  ]),
  ...forSimulation('src/client/messenger/vault.ts', [
    ['        text.fill(0)\n', '', 'the text of the secrets stays in memory'],
    ['        await this.#store.save(text)\n', '', 'new addresses are not stored'],
    ['      if (before.addresses !== state.addresses) this.#onAddresses()\n', '', 'a new address is read after the next start only'],
  ]),
  ...forSimulation('src/client/delivery/entries.ts', [
    [
      'return before !== undefined && before !== run',
      'return before === undefined && before === run',
      'a sender does not notice that a relay forgot its messages',
    ],
  ]),
  ...forSimulation('src/client/ring/receiving.ts', [
    ['    if ((reading.left ?? 0) > 0) return []\n', '', 'a one-time key stays after its message was read'],
  ]),
  ...forSimulation('src/client/ring/sending.ts', [
    ['held: ring.held.slice(oldest + 1), last }', 'held: ring.held, last }', 'a ring hands out a key twice'],
    [
      'given: [...chosen.ring.given, ...given].toSorted(byAge) },',
      'given: [...chosen.ring.given, ...given].slice(0, ring.given.length).toSorted(byAge) },',
      'a ring forgets the keys that it gave',
    ],
  ]),
  ...forSimulation('src/cli/profile/state.ts', [
    ['          await file.datasync()\n', '', 'a power failure makes a shown message new'],
    [
      '      if (entries.length === 0) return removeFile(path)\n',
      '      if (entries.length === 0) return\n',
      'the last confirmed message stays in the stored outbox',
    ],
  ]),
  ...forSimulation('src/cli/disk/file.ts', [
    [
      '      await file.writeFile(content)\n      await file.sync()\n',
      '      await file.writeFile(content)\n',
      'a power failure empties a file that was replaced',
    ],
  ]),
]
