namespace Ravel.Cli.Shell;

/// <summary>The scripts that shells load. All that they know is how to ask <c>ravel __complete</c>.</summary>
internal static class CompletionScripts
{
    /// <summary>
    /// bash cuts words at ':' and '=', which image references contain: words are joined again before they are passed on,
    /// and what bash holds to be finished is cut off the candidates.
    /// </summary>
    public const string Bash = """
        # bash completion for ravel
        _ravel() {
            local words=() word="" i
            for ((i = 1; i <= COMP_CWORD; i++)); do
                case "${COMP_WORDS[i]}" in
                    [:=]*) word+="${COMP_WORDS[i]}" ;;
                    *)
                        case "$word" in
                            *[:=]) word+="${COMP_WORDS[i]}" ;;
                            *)
                                if ((i > 1)); then words+=("$word"); fi
                                word="${COMP_WORDS[i]}"
                                ;;
                        esac
                        ;;
                esac
            done
            local prefix=""
            case "$word" in
                *[:=]*) prefix="${word%"${word##*[:=]}"}" ;;
            esac
            COMPREPLY=()
            local line
            while IFS= read -r line; do
                line="${line%%$'\t'*}"
                COMPREPLY+=("${line#"$prefix"}")
            done < <(ravel __complete "${words[@]}" "$word" 2>/dev/null)
            if ((${#COMPREPLY[@]} == 0)); then compopt -o default 2>/dev/null; fi
        }
        complete -F _ravel ravel

        """;

    public const string Zsh = """
        #compdef ravel
        _ravel() {
            local -a candidates
            local line
            while IFS= read -r line; do
                # _describe wants value:remark, with the colons of the value escaped.
                case "$line" in
                    *$'\t'*) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
                    *) candidates+=("${line//:/\\:}") ;;
                esac
            done < <(ravel __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
            if ((${#candidates})); then
                _describe 'ravel' candidates
            else
                _files
            fi
        }
        if [ "$funcstack[1]" = "_ravel" ]; then
            _ravel "$@"
        else
            compdef _ravel ravel
        fi

        """;

    public const string Fish = """
        # fish completion for ravel
        function __ravel_complete
            set -l words (commandline -opc)
            set -e words[1]
            ravel __complete $words (commandline -ct) 2>/dev/null
        end
        complete -c ravel -f -a '(__ravel_complete)'
        complete -c ravel -n '__fish_seen_subcommand_from import' -F

        """;
}
