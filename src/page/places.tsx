/** The screens beside the conversations: the user's card, a new person, and the saved file. */
import { useState } from 'preact/hooks'
import type { Invite } from '../client/format/invite.ts'
import { AccountError } from './check.ts'
import type { State } from './model.ts'
import { Code, Copy, download, Field, Icon, Problem, useAction } from './parts.tsx'
import type { Talk } from './talk.ts'

function Pane({
  title,
  onBack,
  children,
}: {
  readonly title: string
  readonly onBack: () => void
  readonly children: preact.ComponentChildren
}) {
  return (
    <section class="pane" aria-label={title}>
      <header class="head">
        <button type="button" class="back" onClick={onBack}>
          <Icon name="back" /> <span class="hidden">Back to the list</span>
        </button>
        <h2>{title}</h2>
      </header>
      <div class="body">{children}</div>
    </section>
  )
}

export function CardView({ state, onBack }: { readonly state: State; readonly onBack: () => void }) {
  const { name, link, fingerprint, relays } = state.me
  return (
    <Pane title="My card" onBack={onBack}>
      <p>Give this card to the people who shall write to you. It has your name, your key and your relay, and no secret.</p>
      <Copy text={link} label="The card as a link" />
      <figure>
        <Code text={link} label={`QR code of the card of ${name}`} />
        <figcaption class="hint">For the camera of another phone.</figcaption>
      </figure>
      <dl>
        <dt>Name</dt>
        <dd dir="auto">{name}</dd>
        <dt>Fingerprint of the key</dt>
        <dd class="mono" dir="ltr">
          {fingerprint}
        </dd>
        <dt>You read at</dt>
        <dd class="mono" dir="ltr">
          {relays.join(', ')}
        </dd>
      </dl>
    </Pane>
  )
}

export function AddView({
  talk,
  onBack,
  onAdded,
  onInvite,
}: {
  readonly talk: Talk
  readonly onBack: () => void
  readonly onAdded: (id: string) => void
  readonly onInvite: (invite: Invite) => void
}) {
  const [text, setText] = useState('')
  const [name, setName] = useState('')
  const { problem, busy, run } = useAction()
  return (
    <Pane title="Add a person" onBack={onBack}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          run(async () => {
            if (text.trim() === '') throw new AccountError('paste the link of their card first')
            const { id, link } = await talk.people.addLink(text, name.trim() === '' ? undefined : name)
            if (link.kind === 'invite') onInvite(link.invite)
            if (id !== undefined) onAdded(id)
          })
        }}
      >
        <Field
          label="The link of their card"
          hint="They find it under My card, or by the command asfaleia me. It begins with asfaleia:card/"
        >
          {(ids) => (
            <textarea
              {...ids}
              rows={4}
              value={text}
              spellcheck={false}
              autocomplete="off"
              dir="ltr"
              onInput={(event) => setText(event.currentTarget.value)}
            />
          )}
        </Field>
        <Field label="Your name for them" hint="Leave it empty to take the name on the card.">
          {(ids) => (
            <input
              {...ids}
              value={name}
              autocomplete="off"
              maxLength={64}
              dir="auto"
              onInput={(event) => setName(event.currentTarget.value)}
            />
          )}
        </Field>
        <Problem text={problem} />
        <button class="primary" disabled={busy}>
          Add
        </button>
      </form>
    </Pane>
  )
}

const LEAST_PASSPHRASE = 12

export function SaveView({
  talk,
  state,
  onBack,
  onForget,
}: {
  readonly talk: Talk
  readonly state: State
  readonly onBack: () => void
  readonly onForget: () => void
}) {
  const [first, setFirst] = useState('')
  const [again, setAgain] = useState('')
  const [isDone, setDone] = useState(false)
  const [isSure, setSure] = useState(false)
  const { problem, busy, run } = useAction()
  return (
    <Pane title="Save" onBack={onBack}>
      <p class={state.unsaved ? 'state warn' : 'state good'}>
        <Icon name={state.unsaved ? 'alert' : 'check'} />
        <span>{state.unsaved ? 'If you close this page now, your key and your people are gone.' : 'Your last file has everything.'}</span>
      </p>
      <p>
        The file has your key and your people. The conversations end with this page. Keep the file where only you can read it, and open it
        here the next time. The command <code>asfaleia profile import</code> opens it, too.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          run(async () => {
            if (first.length < LEAST_PASSPHRASE) throw new AccountError(`choose a passphrase of at least ${LEAST_PASSPHRASE} characters`)
            if (first !== again) throw new AccountError('the two passphrases differ')
            download(new Blob([await talk.save(first)], { type: 'application/octet-stream' }), 'asfaleia.profile')
            talk.saved()
            setFirst('')
            setAgain('')
            setDone(true)
          })
        }}
      >
        <Field label="A passphrase for the file" hint="Anyone with the file and this passphrase can act as you. Six random words are good.">
          {(ids) => (
            <input {...ids} type="password" autocomplete="off" value={first} onInput={(event) => setFirst(event.currentTarget.value)} />
          )}
        </Field>
        <Field label="The passphrase again">
          {(ids) => (
            <input {...ids} type="password" autocomplete="off" value={again} onInput={(event) => setAgain(event.currentTarget.value)} />
          )}
        </Field>
        <Problem text={problem} />
        <button class="primary" disabled={busy}>
          {busy ? 'Encrypting, this takes some seconds…' : 'Save a file'}
        </button>
        <p role="status" class="hint">
          {isDone ? 'The browser has the file asfaleia.profile now. Check that it is among your downloads.' : ''}
        </p>
      </form>
      <section class="forget">
        <h3>Forget everything</h3>
        <p>This page stores nothing in the browser. This ends the conversations and drops your key from memory at once.</p>
        {isSure ? (
          <p class="row">
            <button type="button" class="danger" onClick={onForget}>
              Forget everything now
            </button>
            <button type="button" onClick={() => setSure(false)}>
              Keep
            </button>
          </p>
        ) : (
          <button type="button" onClick={() => setSure(true)}>
            Forget everything…
          </button>
        )}
        {isSure && state.unsaved && <p class="problem">You have no file with your last changes.</p>}
      </section>
    </Pane>
  )
}

/** How to reach a closed relay: the page cannot give Tor Browser the key of an invite. */
export function InviteView({ invite, onBack }: { readonly invite: Invite; readonly onBack: () => void }) {
  return (
    <Pane title="The key of the relay" onBack={onBack}>
      <p>
        This relay lets only invited people in. Tor Browser asks for your key once: open the address below in a new tab, and paste the key
        when it asks. Let Tor Browser remember the key, and come back here.
      </p>
      <Copy text={`http://${invite.relay}/`} label="1. Open this address in a new tab" />
      <Copy text={invite.key} label="2. Paste this key there. It is a secret: send it to no one" />
      <p>
        <button type="button" class="primary" onClick={onBack}>
          Done
        </button>
      </p>
    </Pane>
  )
}
