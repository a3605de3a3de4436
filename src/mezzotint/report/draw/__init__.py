"""How are numbers drawn? Charts as inline SVG, made on the server, coloured by the page's style sheet."""
