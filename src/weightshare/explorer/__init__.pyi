from .page import render_frame as render_frame
from .page import render_page as render_page
from .widget import Explorer as Explorer
