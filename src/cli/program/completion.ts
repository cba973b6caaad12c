/** Completions of three shells, from the pages of all commands. Contacts and groups are names of files, which the shell lists itself. */
import type { Option, Page } from './page.ts'

/** Where the profile is, as the shells say it. */
const HOME = '${ASFALEIA_HOME:-${XDG_CONFIG_HOME:-$HOME/.config}/asfaleia}'

/** Commands whose words are names of contacts or groups. */
const NAMED = ['send', 'chat', 'contact', 'group']

const isFile = ({ value }: Option): boolean => /FILE|FOLDER|PATH|KEY/.test(value ?? '')

export function buildBash(pages: readonly Page[]): string {
  const cases = pages.map(
    ({ name, options, verbs }) => `    ${name})
      words='${options.map((option) => option.name).join(' ')}'
      verbs='${verbs.join(' ')}'
      files='${options
        .filter(isFile)
        .map((option) => option.name)
        .join('|')}'
      values='${options
        .filter(({ value }) => value !== undefined)
        .map((option) => option.name)
        .join('|')}' ;;`,
  )
  return `# bash completion of asfaleia, made by \`asfaleia completion bash\`
_asfaleia() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} words='' verbs='' files='' values='' name
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W '${pages.map(({ name }) => name).join(' ')} --help --version' -- "$current")
    return
  fi
  case \${COMP_WORDS[1]} in
${cases.join('\n')}
  esac
  if [[ -n $files && $previous =~ ^($files)$ ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  [[ -n $values && $previous =~ ^($values)$ ]] && return
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    return
  fi
  if [ "$COMP_CWORD" -eq 2 ] && [ -n "$verbs" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$current")
    return
  fi
  case \${COMP_WORDS[1]} in
    ${NAMED.join('|')})
      local home=${HOME}
      for name in "$home"/contacts/* "$home"/groups/*; do
        [ -f "$name" ] || continue
        name=\${name##*/}
        [[ \${name,,} == "\${current,,}"* ]] && COMPREPLY+=("$(printf %q "$name")")
      done ;;
  esac
  if [ \${#COMPREPLY[@]} -eq 0 ]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -F _asfaleia asfaleia
`
}

/** For zsh's single quotes within _arguments, where colons and brackets have a meaning. */
function zshText(text: string): string {
  return text.replaceAll(/[[\]:\\]/g, '\\$&').replaceAll("'", "'\\''")
}

export function buildZsh(pages: readonly Page[]): string {
  const specs = ({ options }: Page): string =>
    options
      .map(
        (option) =>
          `      '*${option.name}${option.value === undefined ? '' : '='}[${zshText(option.about)}]${option.value === undefined ? '' : `:${zshText(option.value)}:${isFile(option) ? '_files' : ' '}`}'`,
      )
      .join(' \\\n')
  const rest = ({ name, verbs }: Page): string[] => {
    const named = NAMED.includes(name) ? '_asfaleia_names' : '_files'
    return verbs.length > 0 ? [`'1:verb:(${verbs.join(' ')})'`, `'*:name:${named}'`] : [`'*:name:${named}'`]
  }
  const cases = pages.map(
    (page) =>
      `    ${page.name})\n      _arguments -s \\\n${[specs(page), ...rest(page).map((line) => `      ${line}`)].filter((part) => part !== '').join(' \\\n')} ;;`,
  )
  return `#compdef asfaleia
# zsh completion of asfaleia, made by \`asfaleia completion zsh\`
_asfaleia_names() {
  local home=${HOME}
  local -a names
  names=("$home"/contacts/*(.N:t) "$home"/groups/*(.N:t))
  compadd -M 'm:{a-z}={A-Z}' -a names
  _files
}
_asfaleia() {
  if (( CURRENT == 2 )); then
    local -a commands
    commands=(${pages.map(({ name, about }) => `'${name}:${zshText(about)}'`).join(' ')})
    _describe command commands
    return
  fi
  local command=\${words[2]}
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = _asfaleia ]; then _asfaleia "$@"; else compdef _asfaleia asfaleia; fi
`
}

function fishText(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}

export function buildFish(pages: readonly Page[]): string {
  const of = (name: string): string => `-n '__fish_seen_subcommand_from ${name}'`
  const lines = pages.flatMap((page) => [
    `complete -c asfaleia -n __fish_use_subcommand -f -a ${page.name} -d ${fishText(page.about)}`,
    ...page.options.map(
      (option) =>
        `complete -c asfaleia ${of(page.name)} -l ${option.name.slice(2)}${option.short === undefined ? '' : ` -s ${option.short.slice(1)}`}${option.value === undefined ? '' : isFile(option) ? ' -r -F' : ' -x'} -d ${fishText(option.about)}`,
    ),
    ...(page.verbs.length > 0
      ? [
          `complete -c asfaleia -n '__fish_seen_subcommand_from ${page.name}; and test (count (commandline -opc)) -eq 2' -f -a '${page.verbs.join(' ')}'`,
        ]
      : []),
    ...(NAMED.includes(page.name) ? [`complete -c asfaleia ${of(page.name)} -a '(__asfaleia_names)'`] : []),
  ])
  return `# fish completion of asfaleia, made by \`asfaleia completion fish\`
function __asfaleia_names
    set -l home $HOME/.config/asfaleia
    set -q XDG_CONFIG_HOME; and set home $XDG_CONFIG_HOME/asfaleia
    set -q ASFALEIA_HOME; and set home $ASFALEIA_HOME
    for name in $home/contacts/* $home/groups/*
        path basename $name 2>/dev/null; or basename $name
    end
end
${lines.join('\n')}
`
}
