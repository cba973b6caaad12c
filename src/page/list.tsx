/** The left column: the connection, the people, and the ways to other screens. */
import { Icon } from './parts.tsx'
import { type Conversation, type RelayView, type State, unseenOf } from './model.ts'

/** What the right column shows. On a phone, `list` shows the left one. */
export type Place = 'list' | 'conversation' | 'person' | 'card' | 'add' | 'save' | 'invite'

export function List({
  state,
  place,
  onOpen,
  onPlace,
  onConnect,
}: {
  readonly state: State
  readonly place: Place
  readonly onOpen: (id: string) => void
  readonly onPlace: (place: Place) => void
  readonly onConnect: () => void
}) {
  const { conversations, open, me } = state
  const requests = conversations.filter(({ kind }) => kind === 'request')
  const others = conversations.filter(({ kind }) => kind !== 'request')
  const show = (each: Conversation) => (
    <Person
      key={each.id}
      conversation={each}
      isOpen={each.id === open && (place === 'conversation' || place === 'person')}
      onOpen={onOpen}
    />
  )
  return (
    <aside class="list" aria-label="People">
      <header>
        <h1>Asfaleia</h1>
        <p class="me" dir="auto">
          {me.name}
        </p>
      </header>
      <Connection relays={state.relays} onConnect={onConnect} />
      <nav aria-label="Conversations">
        {requests.length > 0 && (
          <>
            <h2>Contact requests</h2>
            <ul>{requests.map(show)}</ul>
            <h2>People</h2>
          </>
        )}
        {others.length > 0 ? (
          <ul>{others.map(show)}</ul>
        ) : (
          <p class="empty">No one is here yet. Add a person by their card, or send yours.</p>
        )}
      </nav>
      <nav class="tools" aria-label="Tools">
        <Tool icon="plus" text="Add a person" isOn={place === 'add'} onClick={() => onPlace('add')} />
        <Tool icon="card" text="My card" isOn={place === 'card'} onClick={() => onPlace('card')} />
        <Tool
          icon="save"
          text={state.unsaved ? 'Save (not saved yet)' : 'Save'}
          isOn={place === 'save'}
          onClick={() => onPlace('save')}
          mark={state.unsaved}
        />
      </nav>
    </aside>
  )
}

function Person({
  conversation,
  isOpen,
  onOpen,
}: {
  readonly conversation: Conversation
  readonly isOpen: boolean
  readonly onOpen: (id: string) => void
}) {
  const { id, kind, name, verified, blocked, entries } = conversation
  const unseen = unseenOf(conversation)
  const last = entries.at(-1)
  const about = blocked
    ? 'blocked'
    : kind === 'request'
      ? 'wants to write to you'
      : kind === 'strangers'
        ? 'messages of people who are no contacts'
        : last === undefined
          ? verified
            ? 'verified'
            : 'not verified yet'
          : `${last.from === 'me' ? 'You: ' : ''}${last.file === undefined ? last.text : `file ${last.file.name}`}`
  return (
    <li>
      <button type="button" class="person" aria-current={isOpen ? 'true' : undefined} onClick={() => onOpen(id)}>
        <Face name={name} kind={kind} />
        <span class="who">
          <span class="name" dir="auto">
            {name}
            {verified && (
              <span class="verified">
                <Icon name="check" />
                <span class="hidden"> verified</span>
              </span>
            )}
          </span>
          <span class="about" dir="auto">
            {about}
          </span>
        </span>
        {unseen > 0 && (
          <span class="count">
            {unseen}
            <span class="hidden"> unread</span>
          </span>
        )}
      </button>
    </li>
  )
}

/** The first letter of a name. */
export function Face({ name, kind }: { readonly name: string; readonly kind: Conversation['kind'] }) {
  const [letter = '?'] = name.replace(/^[^\p{L}\p{N}]+/u, '')
  return (
    <span class={`face ${kind}`} aria-hidden="true">
      {kind === 'contact' ? letter.toUpperCase() : '?'}
    </span>
  )
}

function Tool({
  icon,
  text,
  isOn,
  mark = false,
  onClick,
}: {
  readonly icon: 'plus' | 'card' | 'save'
  readonly text: string
  readonly isOn: boolean
  readonly mark?: boolean
  readonly onClick: () => void
}) {
  return (
    <button type="button" class={mark ? 'tool marked' : 'tool'} aria-current={isOn ? 'true' : undefined} onClick={onClick}>
      <Icon name={icon} />
      <span>{text}</span>
    </button>
  )
}

const STATES: Readonly<Record<RelayView['state'], string>> = {
  up: 'Connected',
  connecting: 'Connecting…',
  down: 'Offline',
  'taken-over': 'Stopped',
}

/** The state of each relay of the user, and what to do. */
function Connection({ relays, onConnect }: { readonly relays: readonly RelayView[]; readonly onConnect: () => void }) {
  return (
    <div class="connection" role="status">
      {relays.map(({ relay, state, why, again }) => (
        <div key={relay} class={`relay ${state}`}>
          <span class="dot" aria-hidden="true" />
          <p>
            <strong>{STATES[state]}</strong>
            {state === 'connecting' && <span> Tor needs some seconds to find the relay.</span>}
            {state === 'down' && (
              <span>
                : {why ?? 'the connection ended'}.{' '}
                {again === undefined ? '' : `The page tries again in ${Math.max(1, Math.round((again - Date.now()) / 1_000))} seconds. `}
                Check that Tor is connected.
              </span>
            )}
            {state === 'taken-over' && <span>: another tab or device with your key receives your messages now.</span>}{' '}
            {(state === 'down' || state === 'taken-over') && (
              <button type="button" class="link" onClick={onConnect}>
                {state === 'down' ? 'Try now' : 'Receive here'}
              </button>
            )}
            {relays.length > 1 && (
              <span class="address" dir="ltr">
                {relay}
              </span>
            )}
          </p>
        </div>
      ))}
    </div>
  )
}
