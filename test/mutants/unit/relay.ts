/** Defects of the relay and of the limits for strangers. */
import { type Defect, forTests } from '../defect.ts'

export const RELAY: readonly Defect[] = [
  ...forTests(
    'src/relay/relay.ts',
    ['test/relay/relay.test.ts', 'test/relay/roster.test.ts'],
    [
      [
        "if (this.#state === 'open') this.#mailboxes.expire(now)",
        'this.#mailboxes.expire(now)',
        'A tick expires messages while they are handed over.',
      ],
      ["if (this.#state === 'open') this.#mailboxes.expire(now)", '', 'Messages never expire.'],
      ["if (this.#state === 'open' && this.#wall()", 'if (this.#wall()', 'A tick erases a mailbox while messages are handed over.'],
      ['intact: () => this.#secrets === secrets', 'intact: () => true', 'A wipe between suspend and handover goes unnoticed.'],
      ['      connection.onEnd()\n    }\n    this.#mailboxes', '    }\n    this.#mailboxes', 'A login that is under way survives a panic.'],
      ['    this.#admission.forget()\n', '', 'A panic does not forget who sent.'],
      ['    this.#mailboxes.eraseAll()\n    this.#admission', '    this.#admission', 'A panic leaves the messages.'],
      [
        '    this.#secrets = createSecrets()\n    this.#tokens',
        '    this.#tokens',
        'A panic keeps the secrets, and so the ids of mailboxes.',
      ],
      [
        '    this.#tokens = new Tokens({ secret: this.#secrets.token, seconds: this.#limits.tokenSeconds })\n    this.#prover',
        '    this.#prover',
        'Old tokens stay good after a panic.',
      ],
      [
        '    this.#prover = this.#createProver()\n    this.#enrol()',
        '    this.#enrol()',
        'After a panic the old secret still blinds the ids of mailboxes.',
      ],
      [
        '    this.#prover = this.#createProver()\n    this.#enrol()',
        '    this.#prover = this.#createProver()',
        'After a panic the list of admitted keys admits no key.',
      ],
      ["if (this.#state !== 'suspended') this.#enrol()", 'this.#enrol()', 'A new list erases mailboxes while they are handed over.'],
      ["    this.#state = 'open'\n    this.#enrol()", "    this.#state = 'open'", 'A list that came during a handover has no effect.'],
      [
        "if (this.#state !== 'open') {\n      this.counters",
        'if (false) {\n      this.counters',
        'A relay that hands over accepts connections.',
      ],
      ["if (this.#state !== 'suspended') return\n", '', 'A closed relay can be resumed.'],
      ['if (!this.#roster.receives(message.mailbox)) return true', '', 'A relay takes over messages of a mailbox that it does not admit.'],
      ['if (this.#roster.receives(bundle.mailbox)) this', 'this', 'A relay takes over a bundle of a mailbox that it does not admit.'],
      ['this.#mailboxes.eraseAll()\n  }\n\n  async #end', '}\n\n  async #end', 'A relay that stops leaves its messages in memory.'],
      ['connection.place.leave()', '', 'An ended connection keeps its place.'],
      ['Math.min(STRANGER_LIMITS.perSender, options.perSender)', 'options.perSender', 'A stranger may send as much as a member.'],
      ['this.#names.all.filter((name) => name === dialled)', 'this.#names.all', 'A connection learns of the other names of the relay.'],
    ],
  ),
  ...forTests(
    'src/relay/admission.ts',
    ['test/relay/admission.test.ts', 'test/relay/roster.test.ts'],
    [
      ['shared.streams >= this.#limits.perCircuit', 'shared.streams > this.#limits.perCircuit', 'A circuit gets one stream too many.'],
      [
        'this.#streams.count >= this.#limits.connections',
        'this.#streams.count > this.#limits.connections',
        'The relay takes one connection too many.',
      ],
      ['unproven.count >= this.#limits.unproven', 'unproven.count > this.#limits.unproven', 'One stranger too many is kept.'],
      ['places.push(this) > perKey', 'places.push(this) >= perKey', 'A key gets one stream too few.'],
      ['strangers.size >= mostStrangers', 'strangers.size > mostStrangers', 'One stranger too many stays.'],
      ['&& sends.isFull(now)', '', 'A circuit’s spent budget is forgotten when its streams end.'],
      ['logins.isFull(now) &&', '', 'A circuit’s logins are forgotten when its streams end.'],
      ['&& claims?.isFull(now) !== false', '', 'The budget of a circuit’s claims is forgotten when its streams end.'],
      ['streams === 0 && logins', 'logins', 'A circuit with streams is forgotten.'],
      ['    this.#senders.clear()\n    for', '    for', 'A panic keeps the senders.'],
      [
        'if (streams === 0) this.#circuits.delete(number)\n  }\n\n  #create',
        'this.#circuits.delete(number)\n  }\n\n  #create',
        'A panic forgets a circuit that has streams.',
      ],
      ['    shared?.take(bytes)\n', '', 'A circuit’s budget is never used.'],
      ['    own.take(bytes)\n', '', 'A key’s budget is never used.'],
      ['if (wait === 0) logins.take(1)', '', 'Logins are not counted.'],
      ['if (this.#isEvicted || this.#left) return', '', 'A closed stream takes a place of its key.'],
      ['    if (this.#left) return\n', '', 'A stream that ends twice frees two places.'],
      ['if (this.#circuit !== undefined) this.#circuit.streams--', '', 'A circuit’s places never become free.'],
      ['if (this.#key === undefined) this.#takePlaceOf', 'this.#takePlaceOf', 'A stream takes places of several keys.'],
      ['if (places?.length === 0) keys.delete(this.#key!)', '', 'The keys of ended streams stay in memory.'],
      [
        '!isClaim && quotas.perSender(mailbox) !== undefined && !quotas.isStranger(mailbox)',
        'quotas.perSender(mailbox) !== undefined',
        'A stranger escapes the limit of its circuit.',
      ],
    ],
  ),
  ...forTests(
    'src/relay/senders.ts',
    ['test/relay/senders.test.ts', 'test/relay/admission.test.ts'],
    [
      ['now - lastAt >= FORGOTTEN_MS', 'now - lastAt > FORGOTTEN_MS', 'A key is kept a moment too long.'],
      ['(bucket === undefined || bucket.isFull(now))', 'true', 'A key’s used limit is forgotten after a day.'],
      ['if (this.#usedMemory() > NEWCOMERS_SHARE) return', '', 'A newcomer becomes senior while memory is short.'],
      ['now - key.firstAt < SENIOR_MS', 'now - key.firstAt <= SENIOR_MS', 'A key becomes senior a moment late.'],
      ['bucket.take(Math.min(bytes, size))', 'bucket.take(bytes)', 'A used limit handed over is larger than the limit.'],
      ['    key.bucket.take(used)\n', '', 'A changed quota forgets what was sent.'],
      ['      this.#newcomers.delete(oldest!)\n', '', 'The list of newcomers grows without a bound.'],
      ['    this.#newcomers.delete(sender)\n', '    // stays\n', 'A senior key counts as a newcomer, too.'],
    ],
  ),
  ...forTests(
    'src/relay/bucket.ts',
    ['test/relay/admission.test.ts', 'test/relay/senders.test.ts'],
    [
      [
        'this.#tokens >= tokens',
        'this.#tokens > tokens',
        'The last token of a bucket is never given.',
        'The wait for no token at all is zero seconds.',
      ],
      ['Math.min(this.size, this', 'Math.max(this.size, this', 'A bucket fills without a bound.'],
      ['    this.#at = now\n  }\n}', '  }\n}', 'A bucket refills for the same time again.'],
    ],
  ),
  ...forTests(
    'src/relay/roster.ts',
    ['test/relay/roster.test.ts'],
    [
      ['expires > now)', 'expires >= now)', 'A key is admitted in the moment in which it expires.'],
      ["?.only !== 'receive'", "?.only !== 'send'", 'A key that may only receive may send.'],
      ["member.only !== 'send'", 'true', 'A key that may only send has a mailbox.'],
    ],
  ),
  ...forTests(
    'src/relay/prover.ts',
    ['test/relay/prover.test.ts', 'test/relay/equal-work.test.ts'],
    [
      ['this.#logins.length >= QUEUE', 'this.#logins.length > QUEUE', 'One login too many waits.'],
      [
        "proof?.method === (isSignature ? 'sign' : 'decrypt') ? proof : undefined",
        'proof',
        'A challenge to sign can be answered by its text.',
      ],
      [
        'return isLine(answer, line) && expected !== undefined',
        'return isLine(answer, line)',
        'An answer without a challenge can be right.',
      ],
      ['return isGood && expected !== undefined', 'return isGood', 'A wrong answer is checked by the relay’s own signature and passes.'],
      ['if (!isSound(key)) return', 'if (false) return', 'A key off its curve is challenged.'],
      ['      blob.fill(0)\n', '', 'A signature stays in memory.', 'Only a dump of the memory shows it.'],
      [
        '=== line.length\n  return timingSafeEqual(fits ? answer : line, line) && fits',
        '=== line.length\n  return timingSafeEqual(fits ? answer : line, line)',
        'An answer of another length is right.',
      ],
    ],
  ),
  ...forTests(
    'src/relay/clock.ts',
    ['test/relay/clock.test.ts'],
    [
      [
        'apart <= this.#apart + TOLERANCE_MS',
        'apart < this.#apart + TOLERANCE_MS',
        'A difference of exactly the tolerance counts as a suspension.',
      ],
      ['    this.#apart = apart\n', '', 'A suspension counts at every tick.'],
    ],
  ),
  ...forTests(
    'src/relay/traffic.ts',
    ['test/relay/traffic.test.ts'],
    [
      [
        'if (this.#bytes <= this.#budget) return\n    for',
        'if (this.#bytes < this.#budget) return\n    for',
        'A full budget already ends a connection.',
        'The loop looks at the budget before it ends the first one.',
      ],
      ['if (other === holder) continue', '', 'The connection that makes progress ends itself.'],
      ['bytes === 0 || gotOn', 'bytes === 0', 'A connection that makes progress is taken for a stalled one.'],
    ],
  ),
  ...forTests(
    'src/relay/unproven.ts',
    ['test/relay/unproven.test.ts'],
    [
      [
        'members.size > (most?.size ?? 0)',
        'members.size >= (most?.size ?? 0)',
        'Of levels with equally many streams the highest one gives way.',
      ],
      ['if (this.#most === group.count) this.#most--', '', 'The circuit with the most streams is not found any more.'],
      ['32 - Math.clz32', '31 - Math.clz32', 'Streams without a byte have no level.'],
    ],
  ),
  ...forTests(
    'src/relay/names.ts',
    ['test/relay/names.test.ts'],
    [
      ["each.endsWith('.onion') && ", '', 'A client is told to move to localhost.'],
      ['if (!this.#leaving.includes(name)) return undefined', '', 'A client at the new address is told to move.'],
      ['.filter((each) => each !== name))', ')', 'A name that comes back is still being left.'],
    ],
  ),
]
