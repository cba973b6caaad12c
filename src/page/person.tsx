/** What the user knows of a person, and can do about them: verify, rename, accept, block, remove. */
import { useState } from 'preact/hooks'
import { type Conversation, type Protection, protectionOf } from './model.ts'
import { Field, Icon, Problem, useAction } from './parts.tsx'
import type { Talk } from './talk.ts'

/** What protects the last message of a conversation. */
export const PROTECTIONS: Readonly<Record<Protection, string>> = {
  'one-time': 'each message has a key of its own, which is erased once the message was read',
  daily: 'first messages have the key of a day, which is erased some days later',
  key: 'a thief of your key or of theirs, who recorded the messages, can read them',
}

/** The question below the messages of a contact request. */
export function RequestBox({ talk, conversation }: { readonly talk: Talk; readonly conversation: Conversation }) {
  const { id, name, twin } = conversation
  const [own, setOwn] = useState(twin === undefined ? name : '')
  const { problem, busy, run } = useAction()
  return (
    <form
      class="ask"
      onSubmit={(event) => {
        event.preventDefault()
        run(() => talk.people.accept(id, own))
      }}
    >
      <p>
        <strong>{name}</strong> wrote to you for the first time. Anyone can choose this name: ask over another channel if it is them, and
        compare safety words later. They learn that you read this only if you accept.
      </p>
      <Field label="Your name for them">
        {(ids) => (
          <input {...ids} value={own} autocomplete="off" maxLength={64} dir="auto" onInput={(event) => setOwn(event.currentTarget.value)} />
        )}
      </Field>
      <Problem text={problem} />
      <p class="row">
        <button class="primary" disabled={busy}>
          Accept
        </button>
        <button type="button" onClick={() => talk.people.ignore(id)}>
          Ignore
        </button>
        <button type="button" class="danger" onClick={() => talk.people.block(id)}>
          Block
        </button>
      </p>
    </form>
  )
}

export function PersonView({
  talk,
  conversation,
  onBack,
}: {
  readonly talk: Talk
  readonly conversation: Conversation
  readonly onBack: () => void
}) {
  const { id, name, verified, blocked } = conversation
  const protection = protectionOf(conversation)
  const person = talk.account.find(id)
  return (
    <section class="pane" aria-label={`About ${name}`}>
      <header class="head">
        <button type="button" class="back always" onClick={onBack}>
          <Icon name="back" /> <span class="hidden">Back to the conversation</span>
        </button>
        <h2 class="name" dir="auto">
          {name}
        </h2>
      </header>
      <div class="body">
        <Words talk={talk} id={id} name={name} verified={verified} />
        <Rename talk={talk} id={id} name={name} />
        <section>
          <h3>Key and relay</h3>
          <dl>
            <dt>Fingerprint of the key</dt>
            <dd class="mono" dir="ltr">
              {id}
            </dd>
            <dt>Reads at</dt>
            <dd class="mono" dir="ltr">
              {person === undefined || person.relays.length === 0 ? 'no relay: ask for a new card' : person.relays.join(', ')}
            </dd>
            <dt>Protected by</dt>
            <dd>
              <strong>{protection}</strong>: {PROTECTIONS[protection]}.
            </dd>
          </dl>
        </section>
        <section>
          <h3>Leave</h3>
          <p class="row">
            <button type="button" onClick={() => (blocked ? talk.people.unblock(id) : talk.people.block(id))}>
              {blocked ? 'Unblock' : 'Block'}
            </button>
            <Remove name={name} onRemove={() => talk.people.remove(id)} />
          </p>
          <p class="hint">A blocked person does not learn of it. What they write is dropped.</p>
        </section>
      </div>
    </section>
  )
}

function Words({
  talk,
  id,
  name,
  verified,
}: {
  readonly talk: Talk
  readonly id: string
  readonly name: string
  readonly verified: boolean
}) {
  const [words, setWords] = useState<readonly string[]>()
  const { problem, busy, run } = useAction()
  return (
    <section>
      <h3>Safety words</h3>
      {verified ? (
        <p class="state good">
          <Icon name="check" /> You compared the words: this is the key of {name}.
        </p>
      ) : (
        <p>Call {name}, or meet. If both of you see the same twelve words, no one stands between you. Do not send them as a message.</p>
      )}
      {words === undefined ? (
        <button
          type="button"
          class={verified ? '' : 'primary'}
          disabled={busy}
          onClick={() => run(async () => setWords(await talk.people.words(id)))}
        >
          {busy ? 'Computing…' : 'Show the words'}
        </button>
      ) : (
        <>
          <ol class="words" lang="en" dir="ltr">
            {words.map((word, n) => (
              <li key={n}>{word}</li>
            ))}
          </ol>
          {!verified && (
            <p class="row">
              <button type="button" class="primary" onClick={() => run(() => talk.people.verify(id))}>
                They are equal
              </button>
              <span class="hint">If they differ, block this contact, and ask for the card over another channel.</span>
            </p>
          )}
        </>
      )}
      <Problem text={problem} />
    </section>
  )
}

function Rename({ talk, id, name }: { readonly talk: Talk; readonly id: string; readonly name: string }) {
  const [own, setOwn] = useState(name)
  const { problem, run } = useAction()
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        run(() => talk.people.rename(id, own))
      }}
    >
      <h3>Name</h3>
      <Field label="Your name for them" hint="Only you see it.">
        {(ids) => (
          <input {...ids} value={own} autocomplete="off" maxLength={64} dir="auto" onInput={(event) => setOwn(event.currentTarget.value)} />
        )}
      </Field>
      <Problem text={problem} />
      <button disabled={own.trim() === name}>Rename</button>
    </form>
  )
}

function Remove({ name, onRemove }: { readonly name: string; readonly onRemove: () => void }) {
  const [isSure, setSure] = useState(false)
  return isSure ? (
    <button type="button" class="danger" onClick={onRemove}>
      Remove {name} and this conversation
    </button>
  ) : (
    <button type="button" onClick={() => setSure(true)}>
      Remove…
    </button>
  )
}
